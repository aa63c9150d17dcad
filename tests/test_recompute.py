"""Everything that is published of a tiny experiment is what `tests.recompute` makes of its export."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

from tests import tiny
from tests.calling import Caller
from tests.recompute.audit import Audit

RUNNER = """
name = "tiny-runner"
version = "1.0"
question = "Does it work?"
cost = "nothing"
tasks = [TASK]
model = { width = 32, layers = 1, head_width = 8 }
optimizers = ["muon", "muon-again", "muon-slow"]
seeds = 8
rank = "learning@fit"
columns = [
    "learning@fit", "fact_forgetting@fits", "skill_forgetting@steps", "forgetting", "kl_new", "steps_to_rule@t",
    "update_stable_rank", "update_curvature", "activation_peak@base", "validation_loss@base",
]
probes = ["activations", "landscape", "update", "representations"]
reading = { fit = 0.5, target_steps = [12, 15], target_step = 15, sample = 8, bracket_sample = 16, rule = 0.1 }

[variants.muon-again]
of = "muon"
base = "muon-again"
salt = "again"

[variants.muon-slow]  # shares a base with muon, may share runs
of = "muon"
of_tuned = 0.5
update = ["full"]

[[stages]]
name = "pretrain"
steps = 40
batch = 16
schedule = "cosine"
lr = [2e-2]

[[stages]]
name = "finetune"
steps = 36
batch = 16
schedule = "constant"
points = 6
update = ["full", "full-hidden"]
lr = [8e-3, 1.6e-2, 3.2e-2]

[[claims]]
says = "Other random numbers learn less."
source = "none"
score = "learning@fit"
rows = { optimizer = "muon-again" }
than = { optimizer = "muon" }
expected = "lower"
primary = true

[[claims]]
says = "It does not matter whether embeddings move."
source = "none"
score = "learning@fit"
rows = { optimizer = "muon", update = "full-hidden" }
than = { optimizer = "muon" }
expected = "equal"
primary = true

[[claims]]
says = "Other random numbers give models with higher peaks."
source = "none"
score = "activation_peak"
readings = ["base"]
rows = { optimizer = "muon-again" }
than = { optimizer = "muon" }
expected = "higher"
"""

KINDS = (
    "scores that follow from others", "choices and counts", "scores at the end", "scores x@fit", "scores x@fits",
    "scores x@steps", "scores x@t", "scores x@base", "bounds", "readings at target steps", "means and intervals", "ranks",
    "differences to the best row", "differences of two rows", "p-values", "answers to claims", "differences of claims",
)  # fmt: skip


def test_every_published_number_is_recomputed(tmp_path: Path, call: Caller) -> None:
    card, folder = tiny.write(tmp_path, RUNNER), str(tmp_path / "results")
    assert call(f"run {card} --jobs 1 --quiet --out {folder}").code == 0
    ledger = Audit(lambda words: call(shlex.join(words)).out, folder, str(card), tomllib.loads(card.read_text())).ledger
    assert not ledger.deviating
    assert min(ledger.counts[kind] for kind in KINDS) > 0
    ledger.add("differences of claims", "a number that differs", 0.25, 0.2502, 4)
    assert list(ledger.deviating) == ["differences of claims"]


def test_it_shares_no_code_with_the_package() -> None:
    files = [*(Path(__file__).parent / "recompute").glob("*.py")]
    assert len(files) > 5
    for file in files:
        assert not re.search(r"^\s*(from|import) (synthbench|docs)\b", file.read_text(encoding="utf-8"), re.M), (
            file.name
        )
