"""Which runs to train together: fleets that keep every worker busy and activations in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import islice
from math import ceil

from synthbench.experiment.runs import Run, RunId

EXAMPLES_A_STEP = 256  # of a fleet on a CPU: more runs than fit this many push activations out of the cache
GPU_EXAMPLES_A_STEP = 4096


def pack(
    ready: Sequence[Run], workers: int, fleet_size: int | None, limits: Mapping[str, int] | None = None
) -> list[Run]:
    """The fleet to train next out of runs that could start."""
    kinds: dict[str, dict[RunId, Run]] = {}
    for run in ready:
        kinds.setdefault(run.kind, {})[run.id] = run
    return pack_kinds(kinds, len(ready), workers, fleet_size, limits)


def pack_kinds(
    kinds: Mapping[str, Mapping[RunId, Run]], count: int, workers: int, fleet_size: int | None,
    limits: Mapping[str, int] | None = None, held: Mapping[str, Set[RunId]] | None = None,
) -> list[Run]:  # fmt: skip
    """The fleet to train next out of runs that could start, by kind; count: of them all. limits: the most runs that fit in
    memory, by kind. held: those that may not be taken, by kind.

    Earlier stages go first, because later ones wait for them; then the kind with most work. Fleets are small enough to
    leave two for each worker: none idles at the end while another trains a long fleet. (A look at every kind, but not at
    every run: this is asked for every fleet.)
    """
    best, free = None, 0
    for kind, runs in kinds.items():
        left = len(runs) - len((held or {}).get(kind, ()))
        if left > 0:
            first = next(iter(runs.values()))
            order = len(first.history), -left * first.steps
            if best is None or order < best[0]:
                best, free = (order, kind, first), left
    if best is None:
        return []
    _, kind, first = best
    cuda = first.environment.device == "cuda"
    most = max(1, (GPU_EXAMPLES_A_STEP if cuda else EXAMPLES_A_STEP) // first.batch)
    share = free if cuda else ceil(count / (2 * workers))
    size = fleet_size or max(1, min(most, share))
    taken = (held or {}).get(kind, ())
    allowed = (run for name, run in kinds[kind].items() if name not in taken)
    return list(islice(allowed, min(size, (limits or {}).get(kind, size))))
