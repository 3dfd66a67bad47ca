"""Sweeps whose runs are forked: the numbers of direct runs, and nothing is lost or left when any process is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, Main
from hydra.utils import get_class
from test_systems import assert_same, chosen, run_of

from ocnet_pl.config.compose import compose, heads
from ocnet_pl.model.contract import (
    ends_in_logits,
    head_levels,
    image_scales,
    needed_targets,
    reads_auxiliary,
    reads_image,
    takes_context,
)
from ocnet_pl.process import CONF_VARIABLE, is_alive
from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.result import Result
from ocnet_pl.sweep import launching, starting


def capabilities(head: str) -> tuple[object, ...]:
    of = get_class(compose(f"model/head={head}").model.head._target_)
    return (
        len(head_levels(of)),
        image_scales(of),
        reads_auxiliary(of),
        reads_image(of),
        ends_in_logits(of),
        takes_context(of),
        tuple(needed_targets(of)),
        hasattr(of, "losses"),
        hasattr(of, "attended"),
    )


ONE_OF_EACH = sorted({capabilities(head): head for head in heads()}.values())
"""A head of every set of capabilities."""


@pytest.mark.slow
@pytest.mark.parametrize("head", ONE_OF_EACH)
def test_a_forked_run_has_the_numbers_of_a_direct_one(head: str, workplace: Path, call: Main) -> None:
    command = (*chosen(head), "schedule.max_steps=2", "schedule.val_every=1")
    assert call("train", *command, "name=direct") == 0
    assert call("train", "-m", *command, "name=forked") == 0
    assert_same(head, "direct", "forked")


@pytest.mark.slow
def test_threads_are_those_of_a_fresh_process(workplace: Path, call: Main, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `threads=` those of `OMP_NUM_THREADS`; sums are rounded otherwise with another number."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    scenes = [option for option in TINY if not option.startswith("threads")]
    sweep = ("-m", *scenes, "dataset.image_size=[64,128]", "dataset.crop_size=[64,128]", "threads=null,2")
    sweep += ("row=t-${threads}", "schedule.max_steps=2")
    assert call("train", *sweep, "name=forked") == 0
    monkeypatch.setattr(launching, "FORKING_LAUNCHERS", ())
    assert call("train", *sweep, "name=fresh") == 0
    for row, threads in (("t-None", 1), ("t-2", 2)):
        assert_same(row, "forked", "fresh")
        assert Result.read(run_of("forked", row).result).device.endswith(f" {threads} threads")


KILLER = """
import os
import signal
from pathlib import Path

from torch import nn


class Killer(nn.Module):
    # A layer. In its fourth training step it kills a process with SIGKILL, once.

    def __init__(self, in_channels, out_channels, kills=0):
        super().__init__()
        self.out_channels, self.kills, self.steps = out_channels, kills, 0
        self.reduce = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, features):
        self.steps += self.training
        victims = Path("victims.txt")
        if self.steps == 4 and self.kills and not victims.exists():
            chain = [os.getpid()]
            while len(chain) < 3:
                status = Path(f"/proc/{chain[-1]}/stat").read_text()
                chain.append(int(status.rpartition(")")[2].split()[1]))
            victims.write_text(" ".join(map(str, chain)))
            os.kill(chain[self.kills - 1], signal.SIGKILL)
        return self.reduce(features)
"""


@pytest.mark.parametrize("victim", ["run", "server", "launcher"])
def test_nothing_is_lost_when_a_process_is_killed(
    victim: str, workplace: Path, call: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("own/model/head").mkdir(parents=True)
    Path("own/own_killer.py").write_text(KILLER)
    yaml = "label: Killer\n_target_: own_killer.Killer\nout_channels: 8\nkills: 0\n"
    Path("own/model/head/killer.yaml").write_text(yaml)
    monkeypatch.setenv(CONF_VARIABLE, str(workplace / "own"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    number = ("run", "server", "launcher").index(victim) + 1
    command = ("-m", *TINY, "model/head=killer", "seed=0,1", f"model.head.kills={number}")
    first, second = (RunDirectory(Path(f"outputs/runs/killer/seed-{seed}")) for seed in (0, 1))
    if victim == "launcher":
        arguments = [sys.executable, "-m", "ocnet_pl.command.train", *command]
        launcher = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert launcher.returncode == -signal.SIGKILL, launcher.stderr
    else:
        assert call("train", *command) == 1
        assert second.state() is State.DONE, "the other run goes on"
        assert ("killed by SIGKILL" if victim == "run" else "interrupted") in capsys.readouterr().out
    run, server, launching_process = map(int, Path("victims.txt").read_text().split())
    gone = {"run": [run], "server": [run, server], "launcher": [run, server, launching_process]}[victim]
    deadline = time.monotonic() + 60
    while any(map(is_alive, gone)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_alive, gone))
    assert launching_process == os.getpid() or victim == "launcher"
    assert first.state() is (State.FAILED if victim == "run" else State.BROKEN)

    assert call("train", *command) == 0
    shown = capsys.readouterr().out
    assert "killer/seed-0 resumes" in shown
    assert "2 done" in shown
    assert call("train", *(word for word in command if word not in ("-m", "seed=0,1")), "name=whole") == 0
    assert_same("killer", "whole", "runs")


def test_a_failing_run_of_a_server_is_recorded(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the user, which only the run finds."""
    Path("outputs/runs/base_oc/seed-0").mkdir(parents=True)
    Path("outputs/runs/base_oc/seed-0/checkpoints").write_text("in the way")
    assert call("train", "-m", *TINY, "schedule.max_steps=1") == 1
    shown = capsys.readouterr().out
    assert "1 failed" in shown
    failure = json.loads(Path("outputs/runs/base_oc/seed-0/failure.json").read_text())
    assert "checkpoints" in failure["error"]
    console = Path("outputs/runs/base_oc/seed-0/console.log").read_text()
    assert "ocnet-train: error: " in console
    assert starting._server is not None
