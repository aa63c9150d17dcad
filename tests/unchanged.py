"""Keeps published runs through an edit of the code that trains, where the edit changes no number.

    python -m tests.unchanged REV RUNNER...    for instance HEAD~1 quick

What is published is tied to what the code that trained it computes, so that an edit of that asks for hours of training.
This trains every run of one seed of each runner twice, with the code of a revision and with the code as it is now, and
compares scores, paths and weights bit by bit; the seed is drawn from the hash of the code, not chosen. Where a run differs
it says which, and all is to be trained again. Where all agree, `reports/*.json` and the gate's baselines that the
revision's code made are written under the code as it is now.

Both codes are called as programs, and compared by what `synthbench export` prints: names inside them may differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from synthbench.analysis import reference
from synthbench.cards import RunnerCard, load
from synthbench.experiment import identity
from synthbench.experiment.optimizers import source_hash
from synthbench.gate import baseline

ROOT = Path(__file__).resolve().parents[1]
FINGERPRINT = "from synthbench.experiment import identity; print(identity.package_fingerprint())"
SETTINGS = (
    "task",
    "stage",
    "pretrain_optimizer",
    "optimizer",
    "update",
    "lr",
    "weight_decay",
    "examples",
    "steps",
    "seed",
)
COMPARED = ("status", "scores", "path", "weights")
BASELINES = [
    *(ROOT / "tests" / "gate" / "baselines").glob("*.json"),
    *(ROOT / "examples" / "ci" / "baselines").glob("*.json"),
]


def trained(out: Path, runner: str, code: Path = ROOT) -> dict[str, dict[str, Any]]:
    """The runs of one seed of a runner, trained with the code in a folder: by their settings what is compared."""
    seeds = load(RunnerCard, runner).seed_list
    seed = seeds[int(identity.training_source(), 16) % len(seeds)]
    words = ["run", runner, "--set", f"seeds=[{seed}]", "--out", str(out), "--keep-weights", "all"]
    if runner == "quick":
        words += ["--optimizer", "adamw,muon,sgd"]
    called(code, "-m", "synthbench", *words)
    exported = called(code, "-m", "synthbench", "export", "--out", str(out)).splitlines()
    return dict(compared(out, run) for run in map(json.loads, exported))


def compared(folder: Path, run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A run's settings as text, and what must be the same to the last bit; of its weights the hash."""
    file = run["weights"]
    outcome = {name: run[name] for name in COMPARED} | {
        "weights": file and sha256((folder / file).read_bytes()).hexdigest()
    }
    return json.dumps([run[name] for name in SETTINGS], sort_keys=True), outcome


def called(code: Path, *words: str) -> str:
    """What Python prints that finds the package in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = subprocess.run(
        [sys.executable, *words], cwd=code, env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    return done.stdout.strip()


def agree(runner: str, before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> bool:
    """Whether both codes trained the same runs to the same outcomes; prints how many, and which differ."""
    same = before.keys() & after.keys()
    differing = {
        run: [name for name in COMPARED if before[run][name] != after[run][name]]
        for run in same
        if before[run] != after[run]
    }
    alone = len(before.keys() ^ after.keys())
    print(f"{runner}: {len(same)} runs of one seed, {len(differing)} differ, {alone} have no counterpart.", flush=True)
    for run, names in [*differing.items()][:5]:
        print(f"  {run}: {', '.join(names)}")
    return bool(same) and not differing and not alone


def renew_rows(path: Path, before: str) -> bool:
    """Writes published rows under the code and the card as they are now, if the code of this fingerprint made them."""
    content = json.loads(path.read_bytes())
    if content["package"] != before:
        return False
    card = load(RunnerCard, content["runner"]).fingerprint()
    content |= {"package": identity.package_fingerprint(), "card": card}
    path.write_text(reference.text(reference.Reference.model_validate(content)) + "\n", encoding="utf-8")
    return True


def renew_baseline(path: Path, before: str) -> bool:
    """The same of a baseline: its code's fingerprint, that of a built-in optimizer, its seal."""
    content = json.loads(path.read_bytes())
    if content["package"] != before:
        return False
    del content["seal"]
    content["package"] = identity.package_fingerprint()
    if ":" not in content["spec"]["name"]:
        content["spec"]["source"] = source_hash(content["spec"]["name"])
    path.write_text(baseline.text(baseline.Baseline.model_validate(content)), encoding="utf-8")
    return True


def main(words: list[str]) -> int:
    if len(words) < 2 or words[0].startswith("-"):
        sys.exit(__doc__)
    revision, *runners = words
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(code), revision], cwd=ROOT, check=True)
        try:
            before = called(code, "-c", FINGERPRINT)
            for runner in runners:
                old, new = (
                    trained(Path(folder, f"{runner}-then"), runner, code),
                    trained(Path(folder, f"{runner}-now"), runner),
                )
                if not agree(runner, old, new):
                    return 1
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(code)], cwd=ROOT, check=True)
    renewed = {path: renew_rows(path, before) for path in sorted((ROOT / "reports").glob("*.json"))}
    renewed |= {path: renew_baseline(path, before) for path in BASELINES}
    for path, is_renewed in renewed.items():
        print(f"{path.relative_to(ROOT)}: {'written anew' if is_renewed else 'made by other code, left as it is'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
