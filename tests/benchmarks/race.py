"""Measures ways to train by turns, each in processes of its own: one process, then all of them at the same time.

Every process has one core and one thread, and the allocator settings of our workers, peers' too. Processes start once;
those that are not asked wait.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter
from types import ModuleType
from typing import Any, NamedTuple

from synthbench.common.errors import BadInput
from synthbench.execution.process_pool import ENVIRONMENT, swapped
from tests.benchmarks.operations import operations
from tests.benchmarks.peers import PEERS, Way
from tests.benchmarks.shapes import Shape

PATIENCE = 10.0  # seconds in which a process may end by itself
ALONE, TOGETHER = "one process", "all processes"
TORCHS, NATIVES, COPIES = "products by torch", "products by the native step", "copies"  # of the machine's limits
ONE_THREAD = {
    **ENVIRONMENT, "TORCHDYNAMO_DISABLE": "0", "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}  # fmt: skip


class Entry(NamedTuple):
    """A way in a comparison: a peer at so many runs."""

    peer: str
    shape: Shape
    optimizer: str
    update: str
    runs: int = 1

    @property
    def label(self) -> str:
        return f"{self.peer}, K = {self.runs}" if PEERS[self.peer].is_batched else self.peer

    @property
    def flops(self) -> int:
        """Operations of a run's step in products."""
        peer = PEERS[self.peer]
        return operations(self.shape, asked_only=peer.asked_only, has_table=peer.has_table, is_native=peer.is_native)


class Refused(Exception):
    """What went wrong in a process, in one line."""


def serve(pipe: Connection, core: int) -> None:
    """Answers calls of this module's functions, sent by name, until the pipe closes."""
    os.sched_setaffinity(0, {core})
    import torch

    torch.set_num_threads(1)
    with suppress(EOFError):
        while True:
            name, *arguments = pipe.recv()
            try:
                pipe.send(SERVED[name](*arguments))
            except Exception as error:
                first = (str(error).strip().splitlines() or [""])[0]
                pipe.send(Refused(f"{type(error).__name__}: {first[:200]}"))


WAYS: dict[Entry, Way] = {}  # of a process


def build(entry: Entry, calls: int = 3) -> tuple[list[float], int, int, float]:
    """Makes a way and calls it; returns losses, trained parameters, the steps of a call, and the seconds that it took."""
    start = perf_counter()
    way = WAYS[entry] = PEERS[entry.peer].build(*entry[1:])
    return [way.call() for _ in range(calls)], way.parameters, way.steps, perf_counter() - start


def repeat(entry: Entry, seconds: float) -> float:
    """Run-steps a second of at least one call, as many as take so long."""
    way, calls, start = WAYS[entry], 0, perf_counter()
    while calls == 0 or perf_counter() - start < seconds:
        way.call()
        calls += 1
    return calls * way.steps * entry.runs / (perf_counter() - start)


def forget() -> None:
    WAYS.clear()


def limits(seconds: float) -> dict[str, float]:
    """The machine's: GFLOP a second of float32 products of 512 x 512 matrices, by each program that we have, and GB a
    second of copies (read and written)."""
    import torch

    from synthbench.trainer.native import path as paths

    side = 512
    a, b, out = torch.randn(side, side), torch.randn(side, side), torch.zeros(side, side)
    source, target = torch.zeros(2**24), torch.zeros(2**24)

    def a_second(call: Callable[[], Any], amount: float) -> float:
        count, start = 0, perf_counter()
        while count < 3 or perf_counter() - start < seconds:
            call()
            count += 1
        return count * amount / (perf_counter() - start) / 1e9

    found = {TORCHS: a_second(lambda: torch.mm(a, b, out=out), 2 * side**3)}
    with suppress(BadInput):  # without a compiler there is none
        paths.of(paths.NATIVE)
        both = torch.cat([a, b]).flatten()
        places = [0, 0, side**2, side, side]  # out, a and b as a LoRA of full rank: out += 2 b a
        native = torch.ops.synthbench.merge
        found[NATIVES] = a_second(lambda: native(out.flatten(), both, places, side), 2 * side**3)
    return found | {COPIES: a_second(lambda: target.copy_(source), 2 * 4 * 2**24)}


SERVED: dict[str, Callable[..., Any]] = {
    one.__name__: one for one in (build, repeat, forget, limits)  # type: ignore[attr-defined]
}  # fmt: skip


class Stable:
    """The processes of all kinds of ways, one of each kind on every core that takes part."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = cores
        self._pipes: dict[str, list[Connection]] = {}
        self._processes: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> Stable:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (pipe for pipes in self._pipes.values() for pipe in pipes):
            pipe.close()
        for process in self._processes:
            process.join(PATIENCE)
            process.kill()
            process.join()

    def ask(self, kind: str, count: int, *order: Any) -> list[Any]:
        """The answers of the first `count` processes of a kind, which work at the same time; raises Refused."""
        if kind not in self._pipes:
            self._pipes[kind] = [self._start(core) for core in self._cores]
        pipes = self._pipes[kind][:count]
        for pipe in pipes:
            pipe.send(order)
        answers = [self._answer(kind, pipe) for pipe in pipes]
        for answer in answers:
            if isinstance(answer, Refused):
                raise answer
        return answers

    def _answer(self, kind: str, pipe: Connection) -> Any:
        try:
            return pipe.recv()
        except (EOFError, OSError):
            self._pipes.pop(kind, None)
            return Refused("its process died")

    def _start(self, core: int) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, core), daemon=True)
        no_main = {"__main__": ModuleType("__main__")}  # which would be run again
        with swapped(os.environ, ONE_THREAD), swapped(sys.modules, no_main):
            process.start()
        theirs.close()
        self._processes.append(process)
        return ours

    def race(self, entries: Sequence[Entry], rounds: int, seconds: float) -> dict[str, Any]:
        """Each way's losses, parameters and run-steps a second in every round, alone and together; or why it has none."""
        found: dict[str, Any] = {}
        entered = []
        for entry in entries:
            try:
                built = self.ask(PEERS[entry.peer].process, len(self._cores), "build", entry)
            except Refused as reason:
                found[entry.label] = f"not measured: {reason}"
                continue
            losses, parameters, steps, _ = built[0]
            entered.append(entry)
            found[entry.label] = {
                "peer": entry.peer, "K": entry.runs, "losses": losses, "parameters": parameters, "steps a call": steps,
                "flops": entry.flops, "optimizer": entry.optimizer,
                "seconds to prepare": max(one[3] for one in built), ALONE: [], TOGETHER: [],
            }  # fmt: skip
        for _ in range(rounds):
            for entry in entered:
                for mode, count in ((ALONE, 1), (TOGETHER, len(self._cores))):
                    rates = self.ask(PEERS[entry.peer].process, count, "repeat", entry, seconds)
                    found[entry.label][mode].append(sum(rates))
        for kind in {PEERS[entry.peer].process for entry in entered}:
            self.ask(kind, len(self._cores), "forget")
        return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """Median, least and most of the ratios of rounds."""
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return median(ratios), min(ratios), max(ratios)
