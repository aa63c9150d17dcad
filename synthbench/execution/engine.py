"""Engines: where fleets are trained, in processes of this machine or on the nodes of a Ray cluster."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite

from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice
from synthbench.execution.executor import Executor, MakeExecutor

ENGINES = ("local", "ray")
NO_RAY = "--engine ray needs Ray; install it with: pip install 'synthbench[ray]'."
LEAST = 0.01  # of a CPU or a GPU: what Ray can tell apart is a ten thousandth, what a fleet can do with less is nothing


@dataclass(frozen=True, kw_only=True)
class Engine:
    """name: one of ENGINES. address: of a running Ray cluster, as `ray.init` takes it; None starts one on this machine that
    ends with the command. cpus, gpus: what a fleet takes of a node, fractions allowed; GPUs where the device is CUDA."""

    name: str = "local"
    address: str | None = None
    cpus: float = 1.0
    gpus: float = 1.0

    @property
    def is_here(self) -> bool:
        """Whether fleets are trained in processes of this machine."""
        return self.name == "local"

    def check(self) -> None:
        """Raises BadInput that names the option whose value is not allowed."""
        check_choice("--engine", self.name, ENGINES)
        if self.is_here and self != Engine():
            raise BadInput("--address, --fleet-cpus and --fleet-gpus go with --engine ray.")
        for name, share in (("--fleet-cpus", self.cpus), ("--fleet-gpus", self.gpus)):
            if not (isfinite(share) and share >= LEAST):
                raise BadInput(f"{name} {share:g} must be at least {LEAST:g}.")

    def check_installed(self) -> None:
        """Raises BadInput where what it needs is not installed."""
        if not self.is_here and find_spec("ray") is None:
            raise BadInput(NO_RAY)

    def executor(self, slots: int, device: str) -> Executor:
        """What trains fleets, so many at a time at most, on a kind of device (`MakeExecutor`)."""
        if self.is_here:
            return local()(slots, device)
        from synthbench.execution.ray_cluster import RayCluster

        return RayCluster(slots, device, self)


HERE = Engine()


def local() -> MakeExecutor:
    """The executor of this machine."""
    from synthbench.execution.process_pool import ProcessPool

    return ProcessPool
