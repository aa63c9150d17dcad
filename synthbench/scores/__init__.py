"""Scores: pure functions of observations, one file a family, registered with unit, range, direction and source."""

from synthbench.scores import capacity, forgetting, learning, distance, relearning, reading  # isort: skip - their order is that of columns
from synthbench.scores.observations import Observations, Point
from synthbench.scores.registry import SCORES, Score, at_point, register
from synthbench.scores.run_scores import RunObservations, run_scores

# Hashed for the runs that use them alone: `experiment/identity.py`
from synthbench.scores import probes, probes_activations, probes_automaton, probes_landscape  # noqa: F401 isort: skip
from synthbench.scores import probes_representations, probes_update  # noqa: F401 isort: skip

__all__ = [
    "SCORES", "Observations", "Point", "RunObservations", "Score", "at_point", "capacity", "distance", "forgetting",
    "learning", "reading", "register", "relearning", "run_scores",
]  # fmt: skip
