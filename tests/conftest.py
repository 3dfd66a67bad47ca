"""Shared by all tests: no network, small trees, and the commands run as a user runs them."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_ERROR_REPORTING"] = "false"
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from ocnet_pl.dataset.demo import draw_tree

torch.set_num_threads(1)

TINY = (
    "dataset=demo", "schedule=demo", "model/backbone=tiny", "trainer=cpu", "trainer.enable_progress_bar=false",
    "dataset.image_size=[32,64]", "dataset.crop_size=[32,64]", "dataset.num_images={train:8,val:5}",
    "dataset.val_batch_size=1", "model.auxiliary_channels=8", "model.head.out_channels=8", "schedule.batch_size=4",
    "schedule.max_steps=6", "schedule.val_every=3", "schedule.checkpoint_every=2", "schedule.log_every=1",
    "threads=1",
)  # fmt: skip
"""A training of seconds, on real files."""

SHORT = tuple(argument for argument in TINY if not argument.startswith("dataset"))
"""The same on any data set."""


@cache
def config_of(head: str) -> DictConfig:
    """The configuration with a head, to read; composing takes 0.2 seconds."""
    from ocnet_pl.config.compose import compose

    config = compose(f"model/head={head}")
    OmegaConf.set_readonly(config, True)
    return config


def built_once(tmp_path_factory: pytest.TempPathFactory, name: str, build: Callable[[Path], None]) -> Path:
    """A folder that the first worker that needs it fills, for all workers of the session; nobody else writes there."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, built = root / name, root / f"{name}.built"
    with FileLock(root / f"{name}.lock"):
        if not built.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            built.touch()
    return folder


@pytest.fixture(scope="session")
def cityscapes_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small tree under the official names."""
    root = tmp_path_factory.mktemp("cityscapes") / "tree"
    draw_tree(root, (32, 64), {"train": 8, "val": 5}, seed=0)
    return root


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to run commands in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of one step with three heads, below `runs/`, on the data in `data/`."""
    from ocnet_pl.config.compose import compose_with_choices
    from ocnet_pl.record.directory import RunDirectory
    from ocnet_pl.run.training import train

    def build(folder: Path) -> None:
        for head in ("base_oc", "pyramid_oc", "baseline"):
            overrides = (*TINY, f"model/head={head}", f"dataset.root={folder}/data", "schedule.max_steps=1")
            config, choices = compose_with_choices(*overrides)
            train(config, RunDirectory(folder / "runs" / head / "seed-0"), choices, list(overrides))

    return built_once(tmp_path_factory, "explored", build)


@pytest.fixture
def runs(trained: Path, tmp_path: Path) -> Path:
    """A copy of those runs, to write into."""
    return Path(shutil.copytree(trained / "runs", tmp_path / "runs"))


def checkpoint(runs: Path, head: str) -> str:
    """Of one of them."""
    return str(runs / head / "seed-0" / "checkpoints" / "last.ckpt")


Main = Callable[..., int]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Main:
    """Runs a command's `main` in this process: `call("train", "seed=1")` gives its exit code."""

    def run(command: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [f"ocnet-{command}", *arguments])
        monkeypatch.delenv("PYTEST_CURRENT_TEST", raising=False)  # so that sweeps of all tests have one server
        try:
            importlib.import_module(f"ocnet_pl.command.{command}").main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def train_in(folder: Path, *overrides: str) -> None:
    """Runs `ocnet-train` in this process and in a folder, for fixtures that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["ocnet-train", *overrides])
        importlib.import_module("ocnet_pl.command.train").main()


def spawn(command: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", f"ocnet_pl.command.{command}", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
