"""Plug-ins are tried before anything is trained, each in a worker process that does nothing else."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from synthbench import plugins
from synthbench.common.errors import BadInput, SynthbenchError
from synthbench.execution.engine import HERE
from synthbench.execution.executor import Died, Executor, TrialJob
from synthbench.experiment.optimizers import spec_of
from synthbench.experiment.plan import Experiment
from synthbench.experiment.runs import OptimizerSpec
from synthbench.plugins.trial import Trial, Tried
from synthbench.trainer.optimizers import OPTIMIZERS


def tried(experiment: Experiment, workers: int = 1) -> Experiment:
    """The experiment with what its plug-ins showed: whether they heed the rates and decays of the card. workers: processes
    at a time.

    Prints one line for each that wants something else than one list of parameters, a grid of rates and the card's decay, or
    changes settings. Raises BadInput for one that cannot be used.
    """
    specs = {spec.fingerprint: spec for spec in experiment.specified() if plugins.plugin_of(spec.name)}
    if not specs:
        return experiment
    jobs = {key: _job(spec, experiment) for key, spec in specs.items()}
    with HERE.executor(min(workers, len(jobs)), experiment.environment.device) as executor:
        showed = _answers(jobs, executor)
    seen = {key: _seen(specs[key], outcome) for key, outcome in showed.items()}
    lines: dict[str, dict[str, None]] = {}
    for key, outcome in showed.items():
        plugins.put_back(specs[key].name, outcome.changed)
        lines.setdefault(specs[key].name, {}).update(dict.fromkeys(_said(outcome)))
    for name, parts in lines.items():
        plugin = plugins.plugin_of(name)
        put_back = [f"settings put back: {', '.join(plugin.changed)}"] if plugin and plugin.changed else []
        if said := [*parts, *put_back]:
            print(f"synthbench: {name}: {'; '.join(said)}.", file=sys.stderr)
    return experiment.with_optimizers(lambda spec: seen.get(spec.fingerprint, spec))


def _job(spec: OptimizerSpec, experiment: Experiment) -> TrialJob:
    card, task = experiment.card, next(iter(experiment.tasks.values()))
    of_variants = [update for variant in card.variants.values() for update in variant.update or ()]
    updates = dict.fromkeys([*(update for stage in card.stages for update in stage.update), *of_variants])
    language = task.language
    trial = Trial(spec.name, spec.arguments, card.shape, language.vocabulary, language.length, tuple(updates))
    return TrialJob(plugins.origins([spec.name], []), trial)


def _answers(jobs: Mapping[str, TrialJob], executor: Executor) -> dict[str, Tried]:
    """What every trial showed, by its key."""
    waiting, running, showed = [*jobs], dict[int, str](), dict[str, Tried]()
    while len(showed) < len(jobs):
        for slot in executor.slots:
            if slot.is_ready and slot.job is None and waiting:
                running[id(slot)] = waiting.pop(0)
                executor.submit(slot, jobs[running[id(slot)]])
        for slot, message in executor.messages(1.0):
            if isinstance(message, Tried):
                showed[running.pop(id(slot))] = message
                slot.job = None
            elif isinstance(message, SynthbenchError):
                raise message
            elif isinstance(message, Died):
                name = jobs[running[id(slot)]].trial if id(slot) in running else None
                which = f"--optimizer {name.name} cannot be used: its" if name else "A"
                raise BadInput(f"{which} process ended while it was tried (exit code {message.exitcode}).")
            else:
                slot.is_ready = True
    return showed


def _seen(spec: OptimizerSpec, outcome: Tried) -> OptimizerSpec:
    seen = {"own_rate": outcome.own_rate, "decay_in_force": outcome.decay}
    arguments = OPTIMIZERS[spec.name].arguments.model_validate(spec.arguments | seen)
    return spec_of(spec.name, arguments)


def _said(outcome: Tried) -> Sequence[str]:
    """What a person should know of a plug-in."""
    said = [outcome.given] if outcome.given else []
    if outcome.own_rate:
        said.append("it sets its learning rate itself (two rates gave the same weights), so it runs at one")
    elif outcome.moves_at_zero:
        said.append("it moves weights at learning rate 0, too")
    if outcome.decay.startswith("own"):
        said.append(f"its {outcome.decay.replace('own', 'own weight decay,', 1)}, is in force, not the card's")
    return said
