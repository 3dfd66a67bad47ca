"""A number is of a whole run on known images, or the result says that it is not."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, Main
from PIL import Image
from trees import folder_tree

from ocnet_pl.record.directory import RunDirectory

FOLDER = (
    *(word for word in TINY if not word.startswith("dataset")), "dataset=folder", "dataset.classes=[a,b,c]",
    "dataset.crop_size=[24,32]", "dataset.num_workers=0", "schedule.max_steps=2", "schedule.val_every=1",
)  # fmt: skip
SIZES = {"train": [(24, 32)] * 4, "val": [(24, 32)] * 3}


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


PARTIAL = {
    "+trainer.limit_test_batches=1": "tested 1 of 3 images",
    "+trainer.limit_test_batches=0": "tested 0 of 3 images",
    "+trainer.limit_val_batches=1": "validated on 1 of 3 images",
    "+trainer.limit_val_batches=0.5": "validated on 1 of 3 images",
    "+trainer.limit_val_batches=0": "never validated",
    "+trainer.limit_train_batches=1": "trained on the same batches again",
    "+trainer.overfit_batches=1": "validated on",
    "+trainer.fast_dev_run=true": "trained 1 of 2 steps",
    "+trainer.max_time='00:00:00:00'": "trained 0 of 2 steps",
}


@pytest.mark.filterwarnings("ignore:You requested to overfit")  # Lightning exchanges our samplers
@pytest.mark.parametrize("setting", PARTIAL)
def test_an_incomplete_run_is_a_rehearsal(
    setting: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_tree(workplace / "data", **SIZES)
    limits = [setting] if "=" in setting else []
    assert call("train", *FOLDER, "dataset.root=data", *limits) == 0
    assert "a rehearsal, never compared" in capsys.readouterr().out
    assert PARTIAL[setting] in "; ".join(result(workplace / "outputs/runs/base_oc/seed-0")["rehearsal"])
    assert call("train", *FOLDER, "dataset.root=data", "model/head=gp") == 0
    assert result(workplace / "outputs/runs/gp/seed-0")["rehearsal"] == []
    capsys.readouterr()
    assert call("report", "outputs/runs") == 0
    printed = capsys.readouterr().out
    assert "Rehearsal, not in the table: base_oc/seed-0" in printed
    assert "seed 0 rehearsal" in printed
    assert call("train", *FOLDER, "dataset.root=data", "parent=base_oc", "row=child") == 2
    assert "rehearsal" in capsys.readouterr().err


def test_a_table_of_rehearsals_only_is_empty(workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    folder_tree(workplace / "data", **SIZES)
    assert call("train", *FOLDER, "dataset.root=data", "+trainer.limit_test_batches=1") == 0
    assert call("report", "outputs/runs") == 0
    assert "Rehearsal, not in the table: base_oc/seed-0" in capsys.readouterr().out
    for name in ("table.md", "table.html", "table.tex"):
        assert "rehearsal" in (workplace / "outputs/runs" / name).read_text()


def test_an_incomplete_test_is_not_added(workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    folder_tree(workplace / "data", **SIZES)
    assert call("train", *FOLDER, "dataset.root=data") == 0
    run = workplace / "outputs/runs/base_oc/seed-0"
    before = result(run)
    checkpoint = str(run / "checkpoints/last.ckpt")
    assert call("evaluate", checkpoint, "inference=flip", "trainer=cpu", "+trainer.limit_test_batches=1") == 0
    assert "1 of 3 images tested" in capsys.readouterr().out
    assert result(run) == before


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        (("schedule.lr=1e9",), 2),
        (("schedule.lr=1e3", "schedule.weight_decay=1e38", "schedule.max_steps=1", "schedule.val_every=1"), 1),
        (("schedule.lr=1e3", "schedule.weight_decay=1e38", "trainer.accumulate_grad_batches=2"), 2),
        (("schedule.lr=1e30", "schedule.log_every=5", "loss=ohem"), 2),
    ],
)
def test_a_diverged_training_ends_in_one_line(
    settings: tuple[str, ...], step: int, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_tree(workplace / "data", **SIZES)
    assert call("train", *FOLDER, "dataset.root=data", "schedule.max_steps=6", "schedule.val_every=6", *settings) == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("ocnet-train: error"))
    assert f"step {step}" in error
    assert "not finite" in error
    assert "schedule.lr" in error
    run = RunDirectory(workplace / "outputs/runs/base_oc/seed-0")
    assert not run.result.exists()
    assert not run.last_checkpoint.exists(), "a checkpoint of a diverged network was written"
    assert "diverged" in json.loads(run.failure.read_text())["error"]


@pytest.mark.parametrize("loss", ["cross_entropy", "ohem"])
@pytest.mark.parametrize("ignored", [True, False])
def test_labels_without_weight_train_and_give_plain_json(loss: str, ignored: bool, workplace: Path, call: Main) -> None:
    """All pixels ignored; or all of a class whose weight is 0."""
    folder_tree(workplace / "data", ids=(255,) if ignored else (1,), **SIZES)
    weights = [] if ignored else ["dataset.class_weights=[1,0,1]"]
    assert call("train", *FOLDER, "dataset.root=data", f"loss={loss}", *weights) == 0
    text = (workplace / "outputs/runs/base_oc/seed-0/result.json").read_text()
    losses = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))["curves"]["train/loss"]
    assert [value for _, value in losses] == [0.0, 0.0]


def other_pictures(root: Path, target: Path) -> Path:
    """The same names and sizes, other content."""
    shutil.copytree(root, target)
    rng = np.random.default_rng(7)
    for path in sorted((target / "images").rglob("*.jpg")):
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(path)
    return target


def relabelled(root: Path, target: Path) -> Path:
    shutil.copytree(root, target)
    for path in sorted((target / "masks/val").rglob("*.png")):
        Image.fromarray(np.asarray(Image.open(path)).max() - np.asarray(Image.open(path))).save(path)
    return target


def one_more(root: Path, target: Path) -> Path:
    shutil.copytree(root, target)
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        shutil.copy(target / f"{kind}/train/000.{suffix}", target / f"{kind}/train/extra.{suffix}")
    return target


OTHER = {"pictures": other_pictures, "labels": relabelled, "more": one_more}


@pytest.mark.parametrize("kind", OTHER)
def test_other_data_under_the_same_name_are_another_run(
    kind: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_tree(workplace / "fold0", **SIZES)
    OTHER[kind](root, workplace / "fold1")
    assert call("train", *FOLDER, "dataset.root=fold0") == 0
    before = (workplace / "outputs/runs/base_oc/seed-0/result.json").read_bytes()
    assert call("train", *FOLDER, "dataset.root=fold1") == 2, "finished before, on other images"
    assert "other images" in capsys.readouterr().err
    assert call("train", "-m", *FOLDER, "dataset.root=fold1", "seed=0") == 2
    shutil.move(workplace / "fold0", workplace / "moved")
    assert call("train", *FOLDER, "dataset.root=moved") == 0, "a moved data set is the same"
    assert (workplace / "outputs/runs/base_oc/seed-0/result.json").read_bytes() == before


def test_an_interrupted_run_does_not_resume_on_a_changed_list(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_tree(workplace / "data", all=[(24, 32)] * 6)
    (root / "train.txt").write_text("all/000\nall/001\nall/002\nall/003\n")
    (root / "val.txt").write_text("all/004\nall/005\n")
    assert call("train", *FOLDER, "dataset.root=data") == 0
    run = RunDirectory(workplace / "outputs/runs/base_oc/seed-0")
    run.result.unlink()  # as after a kill
    (root / "train.txt").write_text("all/003\nall/001\nall/002\nall/000\n")
    assert call("train", *FOLDER, "dataset.root=data") == 2
    assert "other images" in capsys.readouterr().err
    (root / "train.txt").write_text("all/000\nall/001\nall/002\nall/003\n")
    assert call("train", *FOLDER, "dataset.root=data") == 0


@pytest.mark.parametrize("kind", ["pictures", "labels"])
def test_a_test_on_other_images_is_printed_and_not_added(
    kind: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_tree(workplace / "fold0", **SIZES)
    OTHER[kind](root, workplace / "fold1")
    assert call("train", *FOLDER, "dataset.root=fold0") == 0
    run = workplace / "outputs/runs/base_oc/seed-0"
    before = result(run)
    for checkpoint, protocol in (("best", "whole"), ("last", "flip")):
        arguments = (f"{run}/checkpoints/{checkpoint}.ckpt", f"inference={protocol}", "trainer=cpu")
        capsys.readouterr()
        assert call("evaluate", *arguments, "dataset.root=fold1") == 0
        assert "tested on other images" in capsys.readouterr().out
        assert result(run) == before
        assert call("evaluate", *arguments) == 0
        assert "added to" in capsys.readouterr().out
        before = result(run)


@pytest.mark.parametrize("kind", OTHER)
def test_rows_of_other_images_are_not_compared(
    kind: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_tree(workplace / "fold0", **SIZES)
    OTHER[kind](root, workplace / "fold1")
    assert call("train", *FOLDER, "dataset.root=fold0", "model/head=baseline") == 0
    assert call("train", *FOLDER, "dataset.root=fold1", "model/head=gp") == 0
    assert call("train", *FOLDER, "dataset.root=fold0", "model/head=base_oc") == 0
    capsys.readouterr()
    assert call("report", "outputs/runs") == 0
    printed = capsys.readouterr().out
    assert "GP is not compared" in printed
    assert "other images" in printed
    lines = {line.split()[0]: line for line in printed.splitlines() if line.strip()}
    assert "[" in lines["Base-OC"]
    assert "[" not in lines["GP"]


SEEN = {
    "the training split": (["dataset.val_split=train", "evaluate_on=[train]"], "trained on it"),
    "lists that overlap": (["dataset.train_split=a", "dataset.val_split=b", "evaluate_on=[b]"], "trained on 2 of 3"),
    "copies under other names": (["dataset.val_split=copy", "evaluate_on=[copy]"], "trained on it"),
    "a split of another name": (["dataset.val_split=same", "evaluate_on=[same]"], "trained on it"),
}


@pytest.mark.parametrize("way", SEEN)
def test_scores_on_training_images_are_marked_and_not_compared(
    way: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder_tree(workplace / "data", **SIZES)
    (root / "a.txt").write_text("train/000\ntrain/001\ntrain/002\ntrain/003\n")
    (root / "b.txt").write_text("train/002\nval/000\ntrain/003\n")
    (root / "same.txt").write_text("train/000\ntrain/001\n")
    for kind in ("images", "masks"):
        shutil.copytree(root / kind / "train", root / kind / "copy")
        for path in sorted((root / kind / "copy").iterdir()):
            path.rename(path.with_name(f"renamed-{path.name}"))
    settings, words = SEEN[way]
    for head in ("baseline", "gp"):
        assert call("train", *FOLDER, "dataset.root=data", f"model/head={head}", *settings) == 0
    capsys.readouterr()
    assert call("report", "outputs/runs") == 0
    printed = capsys.readouterr().out
    assert printed.count(f"({words}") >= 2
    assert "[" not in printed.split("Mean ")[0], "a difference of scores that are no tests"


def test_images_of_the_parent_count_as_training_images(
    workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_tree(workplace / "data", **SIZES, other=[(24, 32)] * 4)
    command = ("train", *FOLDER, "dataset.root=data")
    assert (
        call(*command, "row=parent", "dataset.train_split=val", "dataset.val_split=train", "evaluate_on=[train]") == 0
    )
    assert call(*command, "row=child", "parent=parent", "dataset.train_split=other") == 0
    evaluation = result(workplace / "outputs/runs/child/seed-0")["evaluations"]["last/val/whole"]
    assert evaluation["trained_on"] == evaluation["of"] == 3


@pytest.mark.parametrize("rule", ["skip", "zero"])
def test_the_data_set_sets_the_rule_for_absent_classes(
    rule: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    folder_tree(workplace / "data", ids=(0, 1), **SIZES)
    classes = "dataset.classes=[a,b,c,d]"
    assert call("train", *FOLDER, classes, "dataset.root=data", f"dataset.absent_classes={rule}") == 0
    evaluation = result(workplace / "outputs/runs/base_oc/seed-0")["evaluations"]["last/val/whole"]
    known = [value for value in evaluation["iou"].values() if value is not None]
    assert evaluation["absent_classes"] == rule
    assert evaluation["miou"] == pytest.approx(sum(known) / (len(known) if rule == "skip" else 4))
    capsys.readouterr()
    assert call("report", "outputs/runs") == 0
    if len(known) < 4:
        assert ("left out" if rule == "skip" else "count as 0") in " ".join(capsys.readouterr().out.split())
