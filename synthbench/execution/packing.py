"""Which runs to train together: fleets that keep every worker busy and activations in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from synthbench.experiment.runs import Run

EXAMPLES_A_STEP = 256  # of a fleet on a CPU: more runs than fit this many push activations out of the cache
GPU_EXAMPLES_A_STEP = 4096


def pack(
    ready: Sequence[Run], workers: int, fleet_size: int | None, limits: Mapping[str, int] | None = None
) -> list[Run]:
    """The fleet to train next out of runs that could start. limits: the most runs that fit in memory, by kind of run.

    Earlier stages go first, because later ones wait for them; then the kind with most work. Fleets are small enough to
    leave two for each worker: none idles at the end while another trains a long fleet.
    """
    if not ready:
        return []
    kinds: dict[str, list[Run]] = {}
    for run in ready:
        kinds.setdefault(run.kind, []).append(run)
    fleet = min(kinds.values(), key=lambda runs: (len(runs[0].history), -len(runs) * runs[0].steps))
    cuda = fleet[0].environment.device == "cuda"
    most = max(1, (GPU_EXAMPLES_A_STEP if cuda else EXAMPLES_A_STEP) // fleet[0].batch)
    share = len(fleet) if cuda else ceil(len(ready) / (2 * workers))
    size = fleet_size or max(1, min(most, share))
    return fleet[: min(size, (limits or {}).get(fleet[0].kind, size))]
