"""The distributions of finished models beside the exact ones of the automaton that drew their strings."""

from __future__ import annotations

import numpy as np

from synthbench.execution.probes.subject import Subject, tokens
from synthbench.experiment.runs import Run
from synthbench.generators import Examples, Place, automaton
from synthbench.scores.observations import Floats
from synthbench.scores.probes_automaton import divergence, entropy

NAME = "automaton"


def measure(subject: Subject) -> list[dict[str, float]]:
    stage = subject.runs[0].stage
    part = subject.task.card.stages[stage].get("rule")
    if part is None or part.generator != NAME:
        return [{} for _ in subject.runs]
    values = [dict[str, float]() for _ in subject.runs]
    for name, split in (("kl_exact", "test"), ("kl_exact.train", "train")):
        drawn = {run.seed: subject.task.draw(stage, run.seed, run.examples)["rule"] for run in subject.runs}
        items_K = [getattr(drawn[run.seed], split).take(slice(512)) for run in subject.runs]
        start = int(items_K[0].answer_NL[0].argmax())
        length = subject.task.language.name_length
        logp_KNAV = subject.logp(subject.after, tokens(items_K), start - 1)[:, :, :length].double().cpu().numpy()
        for k, run in enumerate(subject.runs):
            exact_NAV = exact(subject, run, items_K[k], start)
            values[k][name] = divergence(exact_NAV, logp_KNAV[k])
            if split == "test":
                values[k]["exact_entropy"] = entropy(exact_NAV)
    return values


def exact(subject: Subject, run: Run, items: Examples, start: int) -> Floats:
    """The distribution over the vocabulary of each of the answer's syllables: shape (N, A, V)."""
    language = subject.task.language
    options = automaton.Options.model_validate(subject.task.card.stages[run.stage]["rule"].options)
    machine = automaton.automaton(language, options, Place(run.seed, run.task, run.stage, "rule"))
    answer_NA = items.tokens_NL[:, start : start + language.name_length] - language.first_syllable
    exact_NAV = np.zeros((*answer_NA.shape, language.vocabulary))
    exact_NAV[..., language.first_syllable :] = automaton.exact(machine, language.spell(items.item_N), answer_NA)
    return exact_NAV
