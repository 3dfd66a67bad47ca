"""Optimizers, loggers and rehearsals chosen on the command line."""

import csv
from pathlib import Path

import pytest
from conftest import TINY, Main, spawn

from ocnet_pl.build import build_data, build_module
from ocnet_pl.checkpoint import read_checkpoint
from ocnet_pl.config import validate as validation
from ocnet_pl.config.compose import compose
from ocnet_pl.config.extras import require_extra
from ocnet_pl.config.places import run_directory
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.result import Result
from ocnet_pl.sweep.search import ends


def rows(run: RunDirectory) -> list[dict[str, str]]:
    return list(csv.DictReader((run.logs / "step-000000/metrics.csv").read_text().splitlines()))


def test_the_optimizers_are_what_their_names_say() -> None:
    own = compose("schedule.optimizer.momentum=0.5", "schedule.lr=0.3").schedule.optimizer
    assert (own._target_, own.momentum, own.lr) == ("torch.optim.SGD", 0.5, 0.3)
    config = compose(*TINY, "optimizer=adamw", "schedule.lr=0.001", "schedule.head_lr_factor=10")
    optimizer = build_module(config, build_data(config)).configure_optimizers()["optimizer"]
    assert type(optimizer).__name__ == "AdamW"
    assert {group["name"]: group["initial_lr"] for group in optimizer.param_groups} == pytest.approx(
        {"backbone": 0.001, "head": 0.01}
    )


def test_the_learning_rate_and_the_speed_are_logged(workplace: Path, call: Main) -> None:
    assert call("train", *TINY) == 0
    run = RunDirectory(Path("outputs/runs/base_oc/seed-0"))
    steps = [row for row in rows(run) if row["train/loss"]]
    lrs = [0.1 * (1 - step / 6) ** 0.9 for step in range(6)]
    assert [float(row["lr"]) for row in steps] == pytest.approx(lrs, rel=1e-9)
    assert all(float(row["images/s"]) > 0 for row in steps)
    curves = Result.read(run.result).curves
    assert [value for _, value in curves["lr"]] == pytest.approx(lrs)
    assert "images/s" not in curves


def test_tensorboard_holds_the_curves_of_the_run(workplace: Path, call: Main) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert call("train", *TINY, "logger=[csv,tensorboard]") == 0
    run = RunDirectory(Path("outputs/runs/base_oc/seed-0"))
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    curves = Result.read(run.result).curves
    for name in ("train/loss", "val/miou", "lr"):
        assert [(event.step, event.value) for event in events.Scalars(name)] == [
            (step, pytest.approx(value)) for step, value in curves[name]
        ]
    assert call("evaluate", str(run.last_checkpoint), "trainer=cpu") == 0, "a group with several options is readable"


def test_a_missing_package_is_named(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {"pytorch_lightning.loggers.TensorBoardLogger": ("no_such_module", "tensorboard")}
    monkeypatch.setattr(validation, "_OPTIONAL_LOGGERS", nowhere)
    assert call("train", *TINY, "logger=tensorboard") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'ocnet_pl[tensorboard]'" in line
    assert not list(workplace.iterdir())
    require_extra("x", "json", "x")


def test_a_rehearsal_does_everything_beside_the_real_run(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (*TINY, "schedule.max_steps=100", "schedule.val_every=50", "schedule.checkpoint_every=50")
    assert call("train", *command, "rehearsal=true") == 0
    run = RunDirectory(run_directory(compose(*command, "rehearsal=true")))
    assert run.path == Path("outputs/rehearsals/runs/base_oc/seed-0")
    rehearsed = Result.read(run.result)
    assert rehearsed.steps == read_checkpoint(run.last_checkpoint).step == 4
    assert len(rehearsed.curves["val/miou"]) == 2
    assert rehearsed.rehearsal == [
        "rehearsal=true", "trained 4 of 100 steps", "validated on 2 of 5 images",
        "tested 2 of 5 images in last/val/whole",
    ]  # fmt: skip
    lrs = [0.1 * (1 - step / 100) ** 0.9 for step in range(4)]
    assert [value for _, value in rehearsed.curves["lr"]] == pytest.approx(lrs), "as in the real run"
    assert not Path("outputs/runs").exists()
    first = run.result.read_bytes()
    assert call("train", *command, "rehearsal=true", "schedule.lr=0.05") == 0, "anew, with today's settings"
    assert run.result.read_bytes() != first
    capsys.readouterr()
    assert call("report", "outputs/rehearsals") == 0
    assert "Rehearsal, not in the table: base_oc/seed-0" in capsys.readouterr().out


def test_a_sweep_rehearses_one_seed_of_each_row(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("train", "-m", *TINY, "rehearsal=true", "seed=3,4") == 0
    printed = capsys.readouterr().out
    assert "1 done" in printed
    folder = Path("outputs/rehearsals/runs")
    assert [path.name for path in (folder / "base_oc").iterdir()] == ["seed-3"]
    assert "not in the table" in (folder / "table.md").read_text()


def test_the_ends_of_a_search_are_its_first_and_last_values() -> None:
    searched = {
        "seed=1": "seed=1",
        "schedule.lr=tag(log,interval(0.01,1))": "schedule.lr=0.01,1.0",
        "a=range(0,7,2)": "a=0,6",
        "b=x,y,z": "b=x,z",
        "+c=interval(1,2)": "+c=1.0,2.0",
    }
    assert ends(list(searched)) == list(searched.values())


@pytest.mark.slow
def test_a_search_finds_its_best_run(workplace: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    settings = [*TINY, "schedule.lr=interval(0.01,0.1)", "schedule.max_steps=1", "hydra.sweeper.n_trials=2"]
    search = ["-m", "hydra/sweeper=optuna_miou", *settings]
    row = "row=lr-${schedule.lr}"
    assert row in spawn("train", *search, cwd=workplace).stderr, "the runs would share a directory"
    found = spawn("train", *search, row, cwd=workplace)
    assert found.returncode == 0, found.stdout + found.stderr
    runs = [Result.read(path) for path in Path("outputs/runs").glob("*/*/result.json")]
    scores = [run.evaluations["last/val/whole"].miou for run in runs]
    assert len(scores) == 2
    assert str(max(scores)) in Path("outputs/runs/optimization_results.yaml").read_text()
    again = spawn("train", *search, row, cwd=workplace)
    assert again.stdout.count("already finished, skipped") == 2
    usual = [word.replace("optuna_miou", "optuna") for word in search]
    assert "hydra.sweeper.direction=maximize" in spawn("train", *usual, row, cwd=workplace).stderr
