"""wandb shows what a run wrote and never affects the run; the dashboard shows what the runs logged."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import wandb
from conftest import TINY, Main, spawn, train_in
from offline_runs import OfflineRun, offline_runs

from ocnet_pl.module import SegmentationModule
from ocnet_pl.process import EXIT_STOPPED
from ocnet_pl.record.identity import config_hash
from ocnet_pl.tools.wandb import logger

MIRRORED = (*TINY, "logger=wandb")
SEED_0 = Path("outputs/runs/base_oc/seed-0")


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Directory of a sweep with three seeds, trained in this process."""
    root = tmp_path_factory.mktemp("mirrored")
    for seed in range(3):
        train_in(root, *MIRRORED, f"seed={seed}")
    yield root / "outputs" / "runs"
    wandb.teardown()


@pytest.fixture(scope="module")
def runs(sweep: Path) -> list[OfflineRun]:
    return offline_runs(sweep)


def test_three_seeds_share_a_group_and_log_config_and_curves(sweep: Path, runs: list[OfflineRun]) -> None:
    assert [run.name for run in runs] == [f"base_oc/seed-{seed}" for seed in range(3)]
    assert {run.group for run in runs} == {"runs/base_oc"}
    assert [run.exit_code for run in runs] == [0, 0, 0]
    assert {run.project for run in runs} == {"ocnet"}
    assert [set(run.tags) for run in runs] == [{"runs", "base_oc"}] * 3
    for seed, run in enumerate(runs):
        left = result(sweep / f"base_oc/seed-{seed}")
        assert run.id == left["config_hash"]
        del left["config"]["loss"]["additional"]  # wandb drops empty groups
        assert {key: run.config[key] for key in left["config"]} == left["config"]
        for metric, curve in left["curves"].items():
            shown = [(row["trainer/global_step"], row[metric]) for row in run.history if metric in row]
            assert shown == [(step, pytest.approx(value)) for step, value in curve]
    assert len({run.id for run in runs}) == 3


def test_the_whole_result_is_logged(sweep: Path, runs: list[OfflineRun]) -> None:
    folder, run = sweep / "base_oc/seed-0", runs[0]
    left = result(folder)
    scores = left["evaluations"]["last/val/whole"]
    assert run.summary["last/val/whole/miou"] == scores["miou"]
    assert {name: run.summary[f"last/val/whole/iou/{name}"] for name in scores["iou"]} == scores["iou"]
    assert run.summary["weights_sha256"] == left["weights_sha256"]
    with np.load(folder / scores["counts"]) as file:
        confusion, counts, classes = file["confusion"], file["counts"].sum(0), file["classes"].tolist()
    hits = confusion.diagonal()
    assert np.array_equal([hits, confusion.sum(0) - hits, confusion.sum(1) - hits], counts)
    (files,) = folder.glob("wandb/offline-run-*/files")
    (table,) = files.rglob("*confusion*.table.json")
    shown = np.zeros_like(confusion)
    for truth, predicted, pixels in json.loads(table.read_text())["data"]:
        shown[classes.index(truth), classes.index(predicted)] = pixels
    assert np.array_equal(shown, confusion)
    (samples,) = [row for row in run.history if "samples/captions" in row]
    assert samples["samples/captions"] == left["samples"]
    assert set(samples["samples/all_masks"][0]) == {"truth", "prediction"}
    kept = sweep / "base_oc" / "seed-0" / "samples"
    masks = {path.read_bytes() for kind in ("truth", "prediction") for path in kept.glob(f"*-{kind}.png")}
    assert len(list(files.rglob("*.mask.png"))) == len(masks), "wandb stores equal masks once"


def test_a_run_with_wandb_equals_a_run_without(workplace: Path, call: Main, sweep: Path) -> None:
    assert call("train", *TINY) == 0
    plain, shown = result(workplace / SEED_0), result(sweep / "base_oc/seed-0")
    for key in ("weights_sha256", "config_hash", "evaluations", "curves"):
        assert plain[key] == shown[key], key


def failing(*arguments: Any, **settings: Any) -> Any:
    raise OSError("the server is on fire")


@pytest.mark.parametrize("trouble", ["absent", "no start", "every call"])
def test_errors_of_wandb_do_not_affect_the_run(
    trouble: str,
    workplace: Path,
    call: Main,
    sweep: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = SimpleNamespace(
        offline=True, define_metric=print, log=failing, finish=failing, summary=SimpleNamespace(update=failing)
    )
    if trouble == "absent":
        monkeypatch.setitem(sys.modules, "wandb", None)
    else:
        monkeypatch.setattr(wandb, "init", failing if trouble == "no start" else lambda **_: broken)
    assert call("train", *MIRRORED) == 0
    assert result(workplace / SEED_0)["weights_sha256"] == result(sweep / "base_oc/seed-0")["weights_sha256"]
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("wandb: ")]
    assert len(complaints) == 1
    assert complaints[0].endswith("the run goes on")


def test_a_run_is_logged_offline_when_the_server_does_not_answer(
    workplace: Path, call: Main, sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.teardown()
    with monkeypatch.context() as patch:
        patch.setattr(logger, "_PATIENCE", 1)
        patch.setenv("WANDB_MODE", "online")
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # no server listens on this port
        patch.setenv("WANDB_API_KEY", "0" * 40)
        assert call("train", *MIRRORED) == 0
        runs = offline_runs(workplace)
    assert [run.exit_code for run in runs] == [0]
    assert runs[0].steps("train/loss") == list(range(6))
    assert f"{SEED_0}/wandb' uploads it" in capsys.readouterr().out


def test_a_failed_run_has_exit_code_1(workplace: Path, call: Main, sweep: Path) -> None:
    tree = workplace / "data/demo/leftImg8bit/train/demo"
    assert call("train", *TINY, "name=draws-the-tree", "schedule.max_steps=1") == 0
    for image in tree.iterdir():
        image.write_bytes(image.read_bytes()[:500])
    assert call("train", *MIRRORED) == 2
    (run,) = offline_runs(workplace)
    assert run.exit_code == 1
    assert "weights_sha256" not in run.summary


def test_a_resumed_run_keeps_its_id(workplace: Path, call: Main, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = SegmentationModule.on_train_batch_start

    def ask_to_stop(module: SegmentationModule, batch: Any, batch_idx: int) -> None:
        begin(module, batch, batch_idx)
        if module.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(SegmentationModule, "on_train_batch_start", ask_to_stop)
        assert call("train", *MIRRORED) == EXIT_STOPPED
    time.sleep(1)  # wandb names its folders by the second
    assert call("train", *MIRRORED) == 0
    first, second = offline_runs(workplace)
    assert first.id == second.id == config_hash(result(workplace / SEED_0)["config"])
    assert (first.exit_code, second.exit_code) == (EXIT_STOPPED, 0)
    kept = [step for step, _ in result(workplace / SEED_0)["curves"]["train/loss"]]
    assert sorted({*first.steps("train/loss"), *second.steps("train/loss")}) == kept
    assert first.steps("train/loss")[-1] < second.steps("train/loss")[0]
    assert result(workplace / SEED_0)["weights_sha256"] == result(sweep / "base_oc/seed-0")["weights_sha256"]


@pytest.mark.slow
def test_only_process_0_logs_a_distributed_run(workplace: Path) -> None:
    done = spawn("train", *MIRRORED, "trainer=ddp_cpu", cwd=workplace)
    assert done.returncode == 0, done.stderr
    (run,) = offline_runs(workplace)
    assert run.exit_code == 0
    assert run.steps("train/loss") == list(range(6))
    left = result(workplace / SEED_0)
    assert left["processes"] == 2
    with np.load(workplace / SEED_0 / "counts-last-val-whole.npz") as file:
        assert file["confusion"].sum(1).tolist() == file["counts"][:, [0, 2]].sum((0, 1)).tolist()


def panels(specification: dict[str, Any]) -> list[dict[str, Any]]:
    sections = specification["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def test_the_dashboard_shows_logged_metrics(
    sweep: Path, runs: list[OfflineRun], call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert call("dashboard", str(sweep), "--json") == 0
    specification = json.loads(capsys.readouterr().out)
    written = {key for run in runs for row in run.history for key in row} | {key for run in runs for key in run.summary}
    by_title = {panel["config"]["chartTitle"]: panel["config"] for panel in panels(specification)}
    assert by_title["Validation mIoU"]["metrics"] == ["val/miou"]
    assert {*result(sweep / "base_oc/seed-0")["evaluations"]["last/val/whole"]["iou"], "Training loss"} <= set(by_title)
    for title, config in by_title.items():
        if title == "Samples":
            assert {f"{key}/captions" for key in config["mediaKeys"]} <= written
            continue
        assert set(config["metrics"]) <= written, title
        assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == ("row.value", "mean", "stddev"), title
    for curve in ("Validation mIoU", "Training loss"):
        assert by_title[curve]["xAxis"] == "trainer/global_step"
    (runset,) = specification["section"]["runSets"]
    (only,) = runset["filters"]["filters"]
    assert (only["key"], only["op"], only["value"]) == ({"section": "config", "name": "name"}, "=", "runs")
    assert runset["grouping"] == [{"section": "config", "name": "row.value"}]


@pytest.mark.parametrize(
    ("given", "words"),
    [((), "wandb login"), (("--json",), "no finished run")],
)
def test_the_dashboard_reports_a_missing_login_or_run(
    given: tuple[str, ...],
    words: str,
    sweep: Path,
    call: Main,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    capsys.readouterr()
    assert call("dashboard", str(tmp_path if given else sweep), *given) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("ocnet-dashboard: error: ")
    assert "\n" not in error
    assert words in error


def test_the_workspace_belongs_to_the_default_or_given_entity(
    sweep: Path, call: Main, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from wandb_workspaces.workspaces import Workspace

    from ocnet_pl.tools import wandb as tools

    monkeypatch.setattr(tools, "logged_in", lambda: True)
    monkeypatch.setattr(wandb, "Api", lambda: SimpleNamespace(default_entity="me"))
    monkeypatch.setattr(
        Workspace, "save", lambda workspace: SimpleNamespace(url=f"{workspace.entity}/{workspace.name}")
    )
    capsys.readouterr()
    assert call("dashboard", str(sweep)) == 0
    assert capsys.readouterr().out.strip() == "me/runs: heads"
    monkeypatch.setattr(Workspace, "save", failing)
    assert call("dashboard", str(sweep), "--entity", "us") == 2
    assert "the server is on fire" in capsys.readouterr().err
