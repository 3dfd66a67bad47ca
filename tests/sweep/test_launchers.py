"""Where the runs of a sweep go: side by side on one machine, or to a cluster."""

import json
import threading
import time
from pathlib import Path

import pytest
from conftest import TINY, Main, spawn
from omegaconf import DictConfig

from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.plan import add_start
from ocnet_pl.record.sealed import write_json
from ocnet_pl.run.gpus import compute_capability, visible_gpus
from ocnet_pl.sweep import launching
from ocnet_pl.sweep.gpus import borrowed


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [("joblib", "hydra.launcher.n_jobs=2"), ("submitit_local",)])
def test_launchers_do_not_change_results(launcher: tuple[str, ...], workplace: Path, call: Main) -> None:
    assert call("train", *TINY, "model/head=gp", "name=alone") == 0
    done = spawn(
        "train", "-m", *TINY, "model/head=gp,base_oc", f"hydra/launcher={launcher[0]}", *launcher[1:], cwd=workplace
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "outputs/runs: 2 done" in done.stdout
    runs = [json.loads((workplace / "outputs" / run / "result.json").read_text())
            for run in ("alone/gp/seed-0", "runs/gp/seed-0", "runs/base_oc/seed-0")]  # fmt: skip
    assert runs[0]["weights_sha256"] == runs[1]["weights_sha256"] != runs[2]["weights_sha256"]
    assert runs[0]["evaluations"] == runs[1]["evaluations"]


@pytest.mark.parametrize(
    ("launcher", "words"), [("slurm", "no srun on this machine"), ("slrm", "basic, joblib, submitit_local")]
)
def test_a_launcher_that_cannot_be_used_is_refused(
    launcher: str, words: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "-m", *TINY, f"hydra/launcher={launcher}") == 2
    assert words in capsys.readouterr().err
    assert not Path("outputs").exists()


def test_visible_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, GPU-7f")
    assert visible_gpus() == ["0", "GPU-7f"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == [], "no driver, no GPU"
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 0\necho 1\n")
    tool.chmod(0o755)
    assert visible_gpus() == ["0", "1"]
    tool.write_text("#!/bin/sh\necho 9.0\necho 7.5\n")
    assert compute_capability() == 7.5
    tool.write_text("#!/bin/sh\necho '[N/A]'\n")
    assert compute_capability() is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    tool.write_text("#!/bin/sh\necho 9.0\n")
    assert compute_capability() is None


def test_a_gpu_is_reserved_for_one_run_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with borrowed(["0", "1"], 1) as first, borrowed(["0", "1"], 1) as second:
        assert (first, second) == (["0"], ["1"])
        waiting = threading.Thread(target=lambda: got.extend(_borrow_and_return()))
        got: list[str] = []
        waiting.start()
        time.sleep(0.1)
        assert not got, "both are lent"
    waiting.join(5)
    assert got == ["0", "1"]
    with borrowed([], 1) as none:
        assert none == []


def _borrow_and_return() -> list[str]:
    with borrowed(["0", "1"], 2, every=0.01) as both:
        return both


class Launched:
    """Hydra's config of a sweep under a launcher."""

    def __init__(self, launcher: str) -> None:
        self.launcher = launcher

    def get(self) -> DictConfig:
        return DictConfig({"runtime": {"choices": {"hydra/launcher": self.launcher}}})


@pytest.mark.parametrize(
    ("launcher", "state", "ended", "comes"),
    [
        ("basic", None, "", False),  # one after another: it was before this one
        ("joblib", None, "", True),
        ("joblib", "failure.json", "earlier", True),
        ("joblib", "failure.json", "mine", False),
        ("joblib", "config.json", "earlier", True),
        ("joblib", "config.json", "mine", False),
        ("slurm", "config.json", "mine", True),  # preempted
        ("slurm", "failure.json", "mine", False),
        ("joblib", "result.json", "mine", False),
    ],
)
@pytest.mark.parametrize("later", [False, True], ids=["", "another sweep of the name started since"])
def test_who_waits_for_its_parent(
    launcher: str,
    state: str | None,
    ended: str,
    comes: bool,
    later: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launching, "HydraConfig", Launched(launcher))
    parent, child = (RunDirectory(tmp_path / row / "seed-0") for row in ("ohem", "ms_flip"))
    for start in ("earlier", "mine"):
        add_start(tmp_path, [parent, child], start)
    if state is not None:
        write_json(parent.path / state, {})
        launching._record_end(parent, ended)
    if later:
        add_start(tmp_path, [parent, child], "later")
    assert launching._comes(parent, child, "mine") is comes
    stranger = RunDirectory(tmp_path / "plain" / "seed-0")
    assert not launching._comes(stranger, child, "mine"), "no run of this sweep"


def test_only_the_last_end_of_a_run_is_kept(tmp_path: Path) -> None:
    for start in ("first", "second"):
        launching._record_end(RunDirectory(tmp_path), start)
    assert [path.name for path in tmp_path.iterdir()] == [".ended-second"]


@pytest.mark.parametrize(
    ("launcher", "trainer", "wanted"),
    [("joblib", {"accelerator": "auto", "devices": 1}, 1), ("joblib", {"accelerator": "gpu", "devices": -1}, 2),
     ("joblib", {"accelerator": "cpu", "devices": 2}, 0), ("basic", {"accelerator": "gpu", "devices": -1}, 0)],
)  # fmt: skip
def test_parallel_runs_reserve_their_gpus(
    launcher: str, trainer: dict[str, object], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "HydraConfig", Launched(launcher))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert launching._gpus_wanted(DictConfig({"trainer": trainer})) == wanted
