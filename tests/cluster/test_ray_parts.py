"""What `--engine ray` is made of, without a cluster."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import cloudpickle
import pytest

from synthbench import plugins
from synthbench.common.errors import Failed
from synthbench.execution import ray_cluster, ray_task
from synthbench.execution.fleet_job import Job
from synthbench.plugins import travel
from tests import tiny
from tests.calling import Caller
from tests.reliability.program import ROOT


def test_a_parcel_is_loaded_where_its_files_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "plugin"
    folder.mkdir()
    (folder / "beside.py").write_text("FACTOR = 2\n")
    file = folder / "mine.py"
    file.write_text("import torch\nfrom beside import FACTOR\n\n\nclass Mine(torch.optim.SGD):\n    factor = FACTOR\n")
    label = plugins.take(f"{file}:Mine")
    plugin = plugins.plugin_of(label)
    assert plugin is not None
    parcel = travel.pack(plugins.origins([label], []))
    (tmp_path / "parcel").write_bytes(cloudpickle.dumps(parcel))
    shutil.rmtree(folder)
    code = (
        "import pickle, sys; from synthbench import plugins; from synthbench.plugins import travel\n"
        f"(origin,) = travel.unpack(pickle.load(open({str(tmp_path / 'parcel')!r}, 'rb')))\n"
        "plugins.restore(origin); plugin = plugins.plugin_of('mine.py:Mine')\n"
        "print(plugin.source, plugin.value.written.factor)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert done.stdout.split() == [plugin.source, "2"]
    file.parent.mkdir()
    file.write_text("import torch\n\n\nclass Mine(torch.optim.SGD):\n    factor = 3\n")
    plugins.take(f"{file}:Mine")
    assert travel.pack([f"{file}:Mine"]).sha256 != parcel.sha256


def test_other_code_on_a_node_trains_nothing(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path)
    job = Job([], next(iter(experiment.tasks.values())).card, [], tmp_path, [])
    *_, sent = ray_task.train(job, travel.pack([]), "cpu", "other code")
    assert isinstance(sent, ray_task.Sent)
    assert isinstance(sent.outcome, Failed)
    assert "install the same version of synthbench and of torch on all nodes" in str(sent.outcome)


def test_a_full_disk_where_results_are_kept_is_one_sentence(tmp_path: Path) -> None:
    sent = ray_task.Sent([], {"a.safetensors": b"content"})
    assert ray_cluster.kept(sent, tmp_path / "weights") == []
    assert (tmp_path / "weights" / "a.safetensors").read_bytes() == b"content"
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch.object(ray_cluster, "write_whole", side_effect=full):
        assert "make room and rerun" in str(ray_cluster.kept(sent, tmp_path))


def test_without_ray_a_sentence_says_what_to_install(tmp_path: Path, call: Caller) -> None:
    with patch.dict(sys.modules, {"ray": None}), pytest.raises(Exception, match=r"pip install 'synthbench\[ray\]'"):
        ray_cluster.imported()
    for asked in ("--dry-run", "--quiet"):  # before a step is timed, and before a folder is made
        with patch.dict(sys.modules, {"ray": None}):
            refused = call(f"run quick --engine ray {asked} --out {tmp_path / 'out'}")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "pip install 'synthbench[ray]'" in refused.err
    assert not (tmp_path / "out").exists()
