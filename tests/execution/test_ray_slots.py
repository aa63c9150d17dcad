"""How many fleets a Ray cluster trains at a time, by a stand-in for Ray that knows nodes alone."""

from __future__ import annotations

from typing import Any

import pytest

from synthbench.execution import ray_cluster
from synthbench.execution.engine import Engine
from synthbench.execution.ray_cluster import RayCluster


class Nodes:
    """What is asked of Ray about nodes and tasks."""

    def __init__(self, *cpus: int) -> None:
        self.cpus = cpus

    def is_initialized(self) -> bool:
        return True

    def remote(self, function: Any) -> Any:
        return function

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": float(count)}} for count in self.cpus]


def cluster(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    monkeypatch.setattr(ray_cluster, "imported", lambda: nodes)
    monkeypatch.setattr(ray_cluster, "LOOK", -1.0)  # at every message
    made = RayCluster(64, "cpu", Engine(name="ray"))
    ready(made)
    return made


def ready(made: RayCluster) -> None:
    for slot, _ in made.messages(0):
        slot.is_ready = True


def test_slots_follow_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(2, 4)
    made = cluster(nodes, monkeypatch)
    first = made.slots
    assert len(first) == 6
    nodes.cpus = (2, 4, 1)
    ready(made)
    assert made.slots[:6] == first  # those that wait for work stay
    assert len(made.slots) == 7
    nodes.cpus = (2,)
    ready(made)
    assert len(made.slots) == 2


def test_a_retired_slot_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(2)
    made = cluster(nodes, monkeypatch)
    for slot in made.slots:
        made.retire(slot)
    ready(made)
    assert made.slots == []
    nodes.cpus = (2, 2)
    ready(made)
    assert len(made.slots) == 2
