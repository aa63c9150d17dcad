"""A fleet holds runs of one kind and of the earliest stage, and is at most as large as requested."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from synthbench.execution.packing import EXAMPLES_A_STEP, pack
from synthbench.experiment.runs import Run
from tests.each import each
from tests.experiment.test_run_identity import RUN

KINDS = st.sampled_from([
    replace(RUN, history=(), stage="pretrain", parent=None),
    replace(RUN, history=(), stage="pretrain", parent=None, steps=50, optimizer=replace(RUN.optimizer, name="sgd")),
    RUN,
    replace(RUN, update="lora-4"),
    replace(RUN, batch=128, steps=5),
])  # fmt: skip
READY = st.lists(
    st.builds(lambda run, seed, lr: replace(run, seed=seed, lr=lr), KINDS, st.integers(0, 9), st.floats(1e-4, 1)),
    min_size=1,
    max_size=30,
    unique_by=lambda run: run.id,
)


@given(READY, st.integers(1, 8), st.none() | st.integers(1, 12))
@settings(max_examples=60)
def test_a_fleet_has_one_kind_and_the_earliest_stage_and_every_run_is_packed_once(
    ready: list[Run], workers: int, fleet_size: int | None
) -> None:
    remaining, packed = list(ready), list[str]()
    while fleet := pack(remaining, workers, fleet_size):
        assert len({run.kind for run in fleet}) == 1
        assert len(fleet[0].history) == min(len(run.history) for run in remaining)
        assert len(fleet) <= (fleet_size or max(1, EXAMPLES_A_STEP // fleet[0].batch))
        if fleet_size:  # full if there are enough runs
            assert len(fleet) == min(fleet_size, sum(run.kind == fleet[0].kind for run in remaining))
        packed += [run.id for run in fleet]
        remaining = [run for run in remaining if run not in fleet]
    assert sorted(packed) == sorted(run.id for run in ready)


@each(("count", "workers", "size"), [(2, 2, 1), (8, 2, 2), (16, 2, 4), (400, 2, 64), (400, 50, 4)])
def test_fleets_leave_two_more_for_every_worker_until_they_fill_the_cache(count: int, workers: int, size: int) -> None:
    """64 = EXAMPLES_A_STEP / 4, because a run has 4 examples a step."""
    ready = [replace(RUN, seed=seed) for seed in range(count)]
    assert len(pack(ready, workers, None)) == min(size, EXAMPLES_A_STEP // RUN.batch)
