"""Hidden states and attention of finished models on the pretraining language, and its loss on trained and other items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench.execution.probes.subject import Subject, tokens
from synthbench.generators import GENERATORS, Examples, inflection
from synthbench.scores.probes_representations import attention_entropy, linear_probe, query_key
from synthbench.trainer.loop import first_position

PROBED = 512  # rule items, half of which fit the linear probe


def measure(subject: Subject) -> list[dict[str, float]]:
    values = [_of_attention(subject, k) for k in range(len(subject.runs))]
    tokens_KNL = tokens(subject.items_K)[..., :-1]
    first = first_position(np.stack([items.answer_NL for items in subject.items_K]))
    _, attended = subject.states(subject.after, tokens_KNL)
    for k, of_run in enumerate(values):
        predicts_NL = subject.items_K[k].answer_NL[:, 1:]
        of_layers = [of_layer[k].transpose(1, 2).double().cpu().numpy() for of_layer in attended]
        entropies = [attention_entropy(of_layer[predicts_NL]) for of_layer in of_layers]
        of_run["attention_entropy"] = float(np.mean(entropies))
    if "rule" in subject.drawn_K[0]:
        _add_rule(subject, values, first)
    return values


def _of_attention(subject: Subject, k: int) -> dict[str, float]:
    of_layers = []
    for i in range(subject.model.layers):
        query_dd, key_dd, _ = subject.after[f"layers.{i}.qkv"][k].double().cpu().numpy()
        of_layers.append(query_key(query_dd, key_dd, subject.model.head_width))
    rank, norm = np.mean(of_layers, axis=0)
    return {"qk_stable_rank": float(rank), "qk_nuclear_norm": float(norm)}


def _add_rule(subject: Subject, values: list[dict[str, float]], first: int) -> None:
    """Separability of the rule's classes, where it has some, and the gap of its loss."""
    trained, others = ([getattr(drawn["rule"], split).take(slice(PROBED)) for drawn in subject.drawn_K]
                       for split in ("train", "test"))  # fmt: skip
    loss_K, other_K = (subject.loss_K(subject.after, items) for items in (trained, others))
    states, _ = subject.states(subject.after, tokens(others)[..., :-1])
    for k, of_run in enumerate(values):
        of_run["loss_gap"] = float(other_K[k] - loss_K[k])
        class_N = classes(subject, others[k])
        if class_N is not None:
            x_Nd, half = states[-1][k, :, first].double().cpu().numpy(), len(class_N) // 2
            of_run["separability"] = linear_probe(x_Nd[:half], class_N[:half], x_Nd[half:], class_N[half:])


def classes(subject: Subject, items: Examples) -> NDArray[np.int64] | None:
    """The class of each stem; None where the rule has no classes of stems."""
    part = subject.task.card.stages[subject.language]["rule"]
    options: Any = GENERATORS[part.generator].options.model_validate(part.options)
    if not isinstance(options, inflection.Options):
        return None
    stem_NS = subject.task.language.spell(items.item_N)
    return inflection.classes(stem_NS[:, options.index], len(options.shifts), subject.task.language.syllables)
