"""Models of one shape, trained as one batched model on any tokens.

from synthbench import Fleet

fleet = Fleet("tiny", vocabulary=32, length=8, seeds=[0] * 8)
fleet.set_optimizer("muon", lr=[2.0**-k for k in range(4, 12)])
for step in range(100):
    losses = fleet.step(tokens)  # (8,): one loss for each model
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from synthbench import plugins
from synthbench.cards import MODELS, ModelCard, Update
from synthbench.common.errors import BadInput
from synthbench.common.validation import message
from synthbench.common.wording import did_you_mean, listed, shown
from synthbench.plugins import CustomOptimizer
from synthbench.trainer import fleet as fleets
from synthbench.trainer import layout
from synthbench.trainer.loop import first_position
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.step import training_step


class Fleet:
    """K models, one for each seed; a model is what it would be alone.

    No product, norm or random number mixes two models. Shapes: K models, B examples, L tokens, V vocabulary.
    """

    def __init__(
        self, model: str | ModelCard = "tiny", *, vocabulary: int, length: int, seeds: Sequence[int], update: str = "full",
        device: str = "cpu",
    ) -> None:  # fmt: skip
        """Makes the models with fresh weights.

        Args:
            model: A preset's name (`synthbench ls model` lists them) or a card.
            vocabulary: The number of token ids, at least 2.
            length: The most tokens of an example, at least 2.
            seeds: One for each model. Models with the same seed have the same weights at the start.
            update: Which weights are trained: `full`, `full-hidden` (the hidden matrices) or `lora-R`.
            device: The device by its torch name, such as `cpu` or `cuda`.

        Raises:
            BadInput: For a value that is not allowed.
        """
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
        weights_KP = fleets.initialize(shape, card, seeds, torch.device(device))
        self._fleet = fleets.Fleet(card, shape, weights_KP, update, seeds)
        self._optimizer: FleetOptimizer | None = None
        self._rates: tuple[Tensor, Tensor] | None = None
        self._seeds, self._step, self._length = list(seeds), 0, length

    def __len__(self) -> int:
        """The number of models, K."""
        return len(self._fleet)

    def __repr__(self) -> str:
        return f"<Fleet of {len(self)} models, update {self._fleet.update}, step {self._step}>"

    def set_optimizer(
        self, optimizer: type[torch.optim.Optimizer] | CustomOptimizer | str, *, lr: float | Sequence[float],
        weight_decay: float | Sequence[float] = 0.0, **options: Any,
    ) -> None:  # fmt: skip
        """Trains with an optimizer from now on, with fresh state.

        Args:
            optimizer: A `torch.optim.Optimizer` class, what `matrix_optimizer` and `fleet_optimizer` make, or a name.
            lr: The learning rate, one for all models or one for each.
            weight_decay: The weight decay, likewise.
            **options: Other arguments of the optimizer, such as `betas=[0.9, 0.95]`, and `routing="hidden"` of a plug-in.

        Raises:
            BadInput: For an optimizer or a value that is not allowed.
        """
        name = plugins.name_of(optimizer)
        rates = torch.tensor(self._per_model("lr", lr)), torch.tensor(self._per_model("weight_decay", weight_decay))
        try:
            made = FleetOptimizer(name, self._fleet, options, plugins.routing_of(name, options))
        except ValidationError as error:
            first = error.errors()[0]
            where, reason = ".".join(map(str, first["loc"])) or name, message(first["msg"])
            raise BadInput(f"Fleet.set_optimizer: {where} = {shown(first['input'])}: {reason}.") from None
        made.set_evaluating(False)
        self._optimizer, self._rates, self._step = made, rates, 0

    def step(self, tokens: Tensor, answers: Tensor | None = None, *, factor: float = 1.0) -> Tensor:
        """Makes one step of training.

        Args:
            tokens: Ids, (B, L) for all models or (K, B, L) for each its own; L is at most `length`.
            answers: Of the same shape, true where a token is to be predicted. None: all tokens but the first.
            factor: What the learning rates are multiplied by at this step (a schedule).

        Returns:
            The loss of each model before the step, shape (K,), in nats per predicted token.

        Raises:
            BadInput: Before `set_optimizer`, and for tokens or answers of another shape or range.
        """
        if self._optimizer is None or self._rates is None:
            raise BadInput("Fleet.step: there is no optimizer yet; call Fleet.set_optimizer first.")
        tokens_KBL = self._tokens(tokens)
        answer_KBL = torch.ones_like(tokens_KBL, dtype=torch.bool) if answers is None else self._spread(answers).bool()
        if answer_KBL.shape != tokens_KBL.shape:
            shapes = f"{tuple(answer_KBL.shape)}, tokens {tuple(tokens_KBL.shape)}"
            raise BadInput(f"Fleet.step: answers have shape {shapes}; the two must be equal.")
        self._step += 1
        first, (lr_K, weight_decay_K) = first_position(answer_KBL.cpu().numpy()), self._rates
        rates_K = lr_K * factor, weight_decay_K
        return training_step(self._optimizer, tokens_KBL, answer_KBL, first, self._step, rates_K)

    def logits(self, tokens: Tensor) -> Tensor:
        """The logits of what follows each token, without gradients.

        Args:
            tokens: As in `step`.

        Returns:
            Shape (K, B, L, V).

        Raises:
            BadInput: For tokens of another shape or range.
        """
        with self._evaluating(), torch.no_grad():
            return self._fleet.logits(self._tokens(tokens))

    def state_dict(self, k: int) -> dict[str, Tensor]:
        """The weights of one model, without the state of the optimizer.

        Args:
            k: The model, from 0 to K - 1.

        Returns:
            Copies on the fleet's device, by name; low-rank updates are merged into them. `layers.I.qkv` has shape
            (3, width, width), every other matrix shape (outputs, inputs).

        Raises:
            BadInput: For a k out of range.
        """
        self._check_index("state_dict", k)
        with self._evaluating():
            return self._fleet.member(k)

    def load_state_dict(self, k: int, state: Mapping[str, Tensor]) -> None:
        """Gives one model other weights, and leaves the state of the optimizer as it is.

        Under `lora-R` they become the frozen weights, and the model's adapters start afresh from its seed, with a product
        of zero.

        Args:
            k: The model, from 0 to K - 1.
            state: Weights by name, as `state_dict` returns them, from any device.

        Raises:
            BadInput: For a k out of range, missing or unexpected names, and other shapes.
        """
        self._check_index("load_state_dict", k)
        fleet, known = self._fleet, self._fleet.layout.parameters
        if state.keys() != known.keys():
            missing, extra = listed(sorted(known.keys() - state.keys())), listed(sorted(state.keys() - known.keys()))
            raise BadInput(f"Fleet.load_state_dict: missing keys: {missing}; unexpected keys: {extra}.")
        for name, parameter in known.items():
            if (shape := tuple(state[name].shape)) != parameter.shape:
                raise BadInput(f"Fleet.load_state_dict: {name} has shape {shape}; it must be {parameter.shape}.")
        device = fleet.flat_KP.device
        with torch.no_grad():
            fleet.base_KP[k] = fleets.pack(fleet.layout, [dict(state)], device)[0]
            if fleet.update.startswith("lora-"):
                fleet.flat_KP[k] = fleets.initialize_adapters(fleet.trainable, [self._seeds[k]], device)[0]
            else:
                fleet.flat_KP[k] = fleet.base_KP[k, : fleet.trainable.row]

    def _check_index(self, method: str, k: int) -> None:
        if not 0 <= k < len(self):
            raise BadInput(f"Fleet.{method}: k = {k} must be from 0 to {len(self) - 1}.")

    def _tokens(self, tokens: Tensor) -> Tensor:
        """Ids, shape (K, B, L); raises BadInput for ids out of range: a model would read its neighbour's embedding."""
        vocabulary = self._fleet.layout.parameters["embedding"].shape[0]
        if tokens.is_floating_point() or tokens.is_complex() or not tokens.numel():
            raise BadInput(f"Fleet: tokens of {tokens.dtype}, shape {tuple(tokens.shape)}, must be whole numbers.")
        least, most = int(tokens.min()), int(tokens.max())
        if least < 0 or most >= vocabulary:
            raise BadInput(f"Fleet: tokens {least} to {most} must be from 0 to {vocabulary - 1}, below the vocabulary.")
        return self._spread(tokens).long()

    def _spread(self, values: Tensor) -> Tensor:
        """Shape (K, B, L); raises BadInput where it cannot be."""
        is_for_each = values.ndim == 3 and len(values) == len(self)
        if not (values.ndim == 2 or is_for_each) or values.shape[-1] > self._length:
            allowed = f"(B, L) or ({len(self)}, B, L), L at most {self._length}"
            raise BadInput(f"Fleet: tokens of shape {tuple(values.shape)} must have shape {allowed}.")
        return values.to(self._fleet.flat_KP.device).expand(len(self), *values.shape[-2:])

    def _per_model(self, name: str, value: float | Sequence[float]) -> list[float]:
        values = [float(value)] * len(self) if isinstance(value, int | float) else [float(each) for each in value]
        if len(values) != len(self) or not all(0 <= each < float("inf") for each in values):
            allowed = f"a number, or one for each of {len(self)} models"
            raise BadInput(f"Fleet.set_optimizer: {name} = {shown(value)} must be {allowed}.")
        return values

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Puts the weights to be evaluated in place: some optimizers average those that they train."""
        if self._optimizer:
            self._optimizer.set_evaluating(True)
        try:
            yield
        finally:
            if self._optimizer:
                self._optimizer.set_evaluating(False)
