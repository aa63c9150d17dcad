"""The structure of finetuning's update of every hidden matrix."""

from __future__ import annotations

from synthbench.execution.probes.subject import Subject, hidden_names, matrices
from synthbench.scores.probes_update import structure


def measure(subject: Subject) -> list[dict[str, float]]:
    if subject.is_base:
        return [{} for _ in subject.runs]
    names = hidden_names(subject.before)
    before, after = ([matrix.cpu().numpy() for matrix in matrices(of, names)] for of in (subject.before, subject.after))
    return [structure([of[k] for of in before], [of[k] for of in after]) for k in range(len(subject.runs))]
