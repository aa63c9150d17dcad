"""Renews the fingerprints of published results after an edit of training code that changes no number.

    python -m tests.unchanged REV RUNNER... [--path native]    for instance HEAD~1 quick; none: on both paths

Published results carry the fingerprint of the code that trained them, so an edit of this code invalidates them, and
regenerating them takes hours. This command trains every run of one seed of each runner with the code of a revision and
with the current code, and compares scores, paths and weights bitwise. The hash of the code selects the seed. If a run
differs, the command names it, and the results must be regenerated. If all agree, it renews the fingerprints in
`reports/*.json` and in the gate's baselines that the code of the revision made; with --path those of one path alone
(baselines are of torch's).

Both versions run as programs and are compared by the output of `synthbench export`, as their internal names may differ.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any

from synthbench.analysis import reference
from synthbench.cards import RunnerCard, load
from synthbench.experiment import identity
from synthbench.experiment.optimizers import source_hash
from synthbench.gate import baseline
from synthbench.reporting.export import ALONG
from synthbench.trainer.native.path import NATIVE, TORCH, of_device

ROOT = Path(__file__).resolve().parents[1]
FINGERPRINTS = """
import json, sys
from synthbench.analysis import reference
from synthbench.cards import RunnerCard, load, names
def made_by(file):
    card = load(RunnerCard, file["runner"]) if file["runner"] in names(RunnerCard) else None
    return card and (card.version, reference.package(card, file["device"]))
print(json.dumps([made_by(json.loads(open(file).read())) for file in sys.argv[1:]]))
"""  # of published rows, by their files: the version of their card, and the code that would train them; null: no card
CODE = "from synthbench.experiment import identity; print(identity.package_fingerprint())"  # of that of baselines
SETTINGS = (
    "task",
    "stage",
    "pretrain_optimizer",
    "optimizer",
    "trainable",
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


def train(out: Path, runner: str, path: str, code: Path = ROOT) -> dict[str, dict[str, Any]]:
    """Trains the runs of one seed with the code in a folder; returns what is compared, by the settings of a run."""
    seeds = load(RunnerCard, runner).seed_list
    seed = seeds[int(identity.training_source(), 16) % len(seeds)]
    arguments = ["run", runner, "--set", f"seeds=[{seed}]", "--out", str(out), "--keep-weights", "all", "--path", path]
    if runner == "quick":
        arguments += ["--optimizer", "adamw,muon,sgd"]
    run_python(code, "-m", "synthbench", *arguments)
    exported = run_python(code, "-m", "synthbench", "export", "--out", str(out)).splitlines()
    return dict(comparable(out, run) for run in map(json.loads, exported))


def comparable(folder: Path, run: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The settings of a run as text, and what must be bitwise equal; the weights as a hash."""
    # older revisions have another name for it, and along a path scores that have no meaning there
    run = {"trainable": run.get("update")} | run
    file = run["weights"]
    outcome = {name: run[name] for name in COMPARED} | {
        "path": [(point["step"], {k: v for k, v in point["scores"].items() if k in ALONG}) for point in run["path"]],
        "weights": file and sha256((folder / file).read_bytes()).hexdigest(),
    }
    return json.dumps([run[name] for name in SETTINGS], sort_keys=True), outcome


def run_python(code: Path, *arguments: str) -> str:
    """The output of Python with the package in this folder."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    completed = subprocess.run(
        [sys.executable, *arguments], cwd=code, env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    return completed.stdout.strip()


def agree(runner: str, before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> bool:
    """Whether both versions trained the same runs with equal outcomes; prints how many runs there are and which differ."""
    shared = before.keys() & after.keys()
    differing = {
        run: [name for name in COMPARED if before[run][name] != after[run][name]]
        for run in shared
        if before[run] != after[run]
    }
    unmatched = len(before.keys() ^ after.keys())
    print(f"{runner}: {len(shared)} runs of one seed, {len(differing)} differ, {unmatched} are unmatched.", flush=True)
    for run, names in [*differing.items()][:5]:
        print(f"  {run}: {', '.join(names)}")
    return bool(shared) and not differing and not unmatched


def renew_rows(path: Path, version: str, before: str) -> bool:
    """Renews the fingerprints of code and card in published rows, if the code of fingerprint `before` made them by this
    version of their card, which is the current one."""
    content = json.loads(path.read_bytes())
    card = load(RunnerCard, content["runner"])
    if content["package"] != before or card.version != version:
        return False
    content["package"] = reference.package(card, content["device"])
    if not path.stem.endswith(reference.WIDE):  # its rows were tuned otherwise than the card says
        content["card"] = card.fingerprint()
    path.write_text(reference.text(reference.Reference.model_validate(content)) + "\n", encoding="utf-8")
    return True


def path_of(file: Path) -> str:
    """The path on which published rows were trained."""
    return of_device(json.loads(file.read_bytes())["device"])


def renew_baseline(path: Path, before: str) -> bool:
    """The same for a baseline: fingerprints of the code and of a built-in optimizer, and the seal."""
    content = json.loads(path.read_bytes())
    if content["package"] != before:
        return False
    del content["seal"]
    content["package"] = identity.package_fingerprint()
    if ":" not in content["spec"]["name"]:
        content["spec"]["source"] = source_hash(content["spec"]["name"])
    path.write_text(baseline.text(baseline.Baseline.model_validate(content)), encoding="utf-8")
    return True


def main(arguments: list[str]) -> int:
    if len(arguments) < 2 or arguments[0].startswith("-"):
        sys.exit(__doc__)
    paths = (TORCH, NATIVE)
    if "--path" in arguments:
        *arguments, _, path = arguments
        paths = (path,)
    revision, *runners = arguments
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder, "code")
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(code), revision], cwd=ROOT, check=True)
        try:
            files = [file for file in sorted((ROOT / "reports").glob("*.json")) if '"package"' in file.read_text()]
            before = dict(zip(files, json.loads(run_python(code, "-c", FINGERPRINTS, *map(str, files))), strict=True))
            of_code = run_python(code, "-c", CODE)
            for runner, path in product(runners, paths):
                earlier = train(Path(folder, f"{runner}-{path}-before"), runner, path, code)
                current = train(Path(folder, f"{runner}-{path}-after"), runner, path)
                if not agree(f"{runner}, {path}", earlier, current):
                    return 1
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(code)], cwd=ROOT, check=True)
    known = {file: made_by for file, made_by in before.items() if made_by and path_of(file) in paths}
    renewed = {file: renew_rows(file, *made_by) for file, made_by in known.items()}
    renewed |= {file: renew_baseline(file, of_code) for file in BASELINES if TORCH in paths}
    for path, is_renewed in renewed.items():
        print(f"{path.relative_to(ROOT)}: {'renewed' if is_renewed else 'made by another code or card, not changed'}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
