"""The residual stream of finished models on the pretraining language, padding left out."""

from __future__ import annotations

import numpy as np

from synthbench.execution.probes.subject import Subject, tokens
from synthbench.generators.examples import PADDING
from synthbench.scores.probes_activations import activations


def measure(subject: Subject) -> list[dict[str, float]]:
    tokens_KNL = tokens(subject.items_K)[..., :-1]
    states, _ = subject.states(subject.after, tokens_KNL)
    is_said_KNL = tokens_KNL.numpy() != PADDING
    layers = [state.double().cpu().numpy() for state in states]
    rows = range(len(subject.runs))
    return [activations([x_KNLd[k][is_said_KNL[k]].astype(np.float64) for x_KNLd in layers]) for k in rows]
