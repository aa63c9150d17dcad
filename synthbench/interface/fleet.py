"""A fleet of one's own: models of one shape trained as one batched model, on any tokens.

from synthbench import Fleet

fleet = Fleet("tiny", vocabulary=32, length=8, seeds=[0] * 8)
fleet.use("muon", lr=[2.0**-k for k in range(4, 12)])
for step in range(100):
    losses = fleet.step(tokens)  # (8,): one loss for each model
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from synthbench.cards import MODELS, ModelCard, Update
from synthbench.common.errors import BadInput
from synthbench.common.validation import message
from synthbench.common.wording import did_you_mean, shown

if TYPE_CHECKING:
    from torch import Tensor

    from synthbench.trainer.optimizer import FleetOptimizer


class Fleet:
    """K models, one for each seed: the same seed twice gives the same weights at the start.

    A model is what it would be alone: no product, norm or random number mixes two of them. Shapes: K models, B examples,
    L tokens, V vocabulary.
    """

    def __init__(
        self, model: str | ModelCard = "tiny", *, vocabulary: int, length: int, seeds: Sequence[int], update: str = "full",
        device: str = "cpu",
    ) -> None:  # fmt: skip
        """model: a preset's name (see `synthbench ls model`) or a card. vocabulary: number of token ids. length: most
        tokens of an example. update: `full`, `full-hidden` (hidden matrices alone) or `lora-R`. device: as torch names it.

        Raises BadInput for what is not allowed.
        """
        import torch

        from synthbench.trainer import fleet, layout

        if isinstance(model, str) and model not in MODELS:
            raise BadInput(f"Fleet: unknown model {shown(model)}{did_you_mean(model, MODELS)}.")
        if vocabulary < 2 or length < 2 or not seeds:
            raise BadInput(
                f"Fleet: vocabulary = {vocabulary}, length = {length} and {len(seeds)} seeds must be at least 2, 2 and 1."
            )
        try:
            TypeAdapter(Update).validate_python(update)
        except ValidationError as error:
            raise BadInput(f"Fleet: update = {shown(update)}: {message(error.errors()[0]['msg'])}.") from None
        card = MODELS[model] if isinstance(model, str) else model
        shape = layout.transformer(card, vocabulary, length - 1)
        weights_KP = fleet.initialize(shape, card, seeds, torch.device(device))
        self._fleet = fleet.Fleet(card, shape, weights_KP, update, seeds)
        self._optimizer: FleetOptimizer | None = None
        self._rates: tuple[Tensor, Tensor] | None = None
        self._step, self._length = 0, length

    def __len__(self) -> int:
        return len(self._fleet)

    def use(
        self, optimizer: Any, lr: float | Sequence[float], weight_decay: float | Sequence[float] = 0.0, **arguments: Any
    ) -> None:
        """Trains with an optimizer from now on, its state fresh.

        optimizer: a name (`adamw`, `muon`, `sgd`, `path/file.py:Class`), a torch.optim.Optimizer class, or a rule. lr,
        weight_decay: one for all models or one for each. arguments: the optimizer's own. Raises BadInput where one of
        these is not allowed.
        """
        import torch

        from synthbench import plugins
        from synthbench.trainer.optimizer import FleetOptimizer

        name = plugins.name_of(optimizer)
        try:
            routing = plugins.routing_of(name, arguments)
            self._optimizer = FleetOptimizer(name, self._fleet, arguments, routing)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or name
            raise BadInput(f"Fleet.use: {where} = {shown(first['input'])}: {message(first['msg'])}.") from None
        each = [self._each("lr", lr), self._each("weight_decay", weight_decay)]
        self._rates = torch.tensor(each[0]), torch.tensor(each[1])
        self._optimizer.set_evaluating(False)
        self._step = 0

    def step(self, tokens: Tensor, answers: Tensor | None = None, factor: float = 1.0) -> Tensor:
        """One step of training; returns each model's loss before it, shape (K,), in nats per learned token.

        tokens: ids, (B, L) for all models alike or (K, B, L) for each its own. answers: of the same shape, true where a
        token is to be predicted; None for all but the first. factor: on the learning rates at this step (a schedule).
        Raises BadInput before `use`.
        """
        import torch

        from synthbench.trainer.loop import first_position
        from synthbench.trainer.step import losses

        if self._optimizer is None or self._rates is None:
            raise BadInput("Fleet.step: say which optimizer trains, with Fleet.use.")
        tokens_KBL = self._tokens(tokens)
        answer_KBL = torch.ones_like(tokens_KBL, dtype=torch.bool) if answers is None else self._spread(answers).bool()
        if answer_KBL.shape != tokens_KBL.shape:
            raise BadInput(
                f"Fleet.step: answers of shape {tuple(answer_KBL.shape)} must have that of the tokens, "
                f"{tuple(tokens_KBL.shape)}."
            )
        loss_K = losses(self._fleet, tokens_KBL, answer_KBL, first_position(answer_KBL.cpu().numpy()))
        self._fleet.flat_KP.grad = None
        loss_K.sum().backward()  # type: ignore[no-untyped-call]
        self._step += 1
        lr_K, weight_decay_K = self._rates
        self._optimizer.step(self._step, lr_K * factor, weight_decay_K)
        return loss_K.detach()

    def logits(self, tokens: Tensor) -> Tensor:
        """What every model says of what follows each token: (K, B, L, V), without gradients. tokens: as in `step`."""
        import torch

        with self._evaluating(), torch.no_grad():
            return self._fleet.logits(self._tokens(tokens))

    def weights(self, k: int) -> dict[str, Tensor]:
        """Copies of one model's weights by name, low-rank updates merged into them."""
        with self._evaluating():
            return self._fleet.member(k)

    def _tokens(self, tokens: Tensor) -> Tensor:
        """Ids, shape (K, B, L); raises BadInput where they are none of the vocabulary's: a model would read another's
        embedding."""
        vocabulary = self._fleet.layout.parameters["embedding"].shape[0]
        if tokens.is_floating_point() or tokens.is_complex() or not tokens.numel():
            raise BadInput(
                f"Fleet: tokens of type {tokens.dtype} and shape {tuple(tokens.shape)} must be some whole numbers."
            )
        least, most = int(tokens.min()), int(tokens.max())
        if least < 0 or most >= vocabulary:
            raise BadInput(
                f"Fleet: tokens {least} to {most} must be from 0 to {vocabulary - 1} (vocabulary = {vocabulary})."
            )
        return self._spread(tokens).long()

    def __repr__(self) -> str:
        return f"<Fleet of {len(self)} models, update {self._fleet.update}, step {self._step}>"

    def _spread(self, values: Tensor) -> Tensor:
        """Shape (K, B, L); raises BadInput where it cannot be."""
        if (
            values.ndim not in (2, 3)
            or (values.ndim == 3 and len(values) != len(self))
            or values.shape[-1] > self._length
        ):
            raise BadInput(
                f"Fleet: tokens of shape {tuple(values.shape)} must have shape (B, L) or ({len(self)}, B, L), L at most "
                f"{self._length}."
            )
        values = values.to(self._fleet.flat_KP.device)
        return values.expand(len(self), *values.shape) if values.ndim == 2 else values

    def _each(self, name: str, given: float | Sequence[float]) -> list[float]:
        values = [float(given)] * len(self) if isinstance(given, int | float) else [float(value) for value in given]
        if len(values) != len(self) or not all(0 <= value < float("inf") for value in values):
            raise BadInput(
                f"Fleet.use: {name} = {shown(given)} must be a number, or one for each of {len(self)} models."
            )
        return values

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """With the weights to be evaluated in place: some optimizers average those that they train."""
        if self._optimizer:
            self._optimizer.set_evaluating(True)
        try:
            yield
        finally:
            if self._optimizer:
                self._optimizer.set_evaluating(False)
