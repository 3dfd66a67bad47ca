"""Compared systems on miniature trees of ADE20K and LIP, tested with windows, scales and flips; their own recipes."""

import shutil
from pathlib import Path

import pytest
from conftest import SHORT, Main, config_of
from test_systems import POSED, SYSTEMS, chosen, run_of
from trees import ade20k_tree, lip_tree

from ocnet_pl.config.compose import compose
from ocnet_pl.config.search_path import options
from ocnet_pl.record.result import Result

SIZES = [(40, 60), (30, 70), (60, 40), (80, 50)]
ON = {
    "ade20k": (
        ade20k_tree,
        ("dataset.short_sides=[24,40]", "dataset.max_long_side=80", "dataset.test_short_side=30"),
        ("inference=sliding", "inference.window=[32,48]", "inference.stride=[24,32]"),
    ),
    "lip": (
        lip_tree,
        ("dataset.size=[48,48]", "dataset.crop_size=[48,48]"),
        ("inference=multi_scale", "trainer.precision=bf16-mixed"),
    ),
}
"""Tree, protocol of the data set at its size, test protocol."""
BRIEF = ("schedule.batch_size=2", "schedule.max_steps=2", "schedule.val_every=2")
NARROW = {"dfn": ("model.head.class_channels=1",)}
"""Further narrow layers of systems that are wide on 150 classes."""


@pytest.mark.parametrize("dataset", ON)
@pytest.mark.parametrize("head", SYSTEMS)
def test_a_system_trains_and_is_tested(
    head: str, dataset: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, small, protocol = ON[dataset]
    poses = {"poses": True} if dataset == "lip" else {}
    root = tree(workplace / "data", train=SIZES, val=SIZES[:2], **poses)
    data = (f"dataset={dataset}", f"dataset.root={root}", "dataset.num_workers=0", *small)
    command = [*chosen(head, SHORT), *data, *protocol, *NARROW.get(head, ()), *BRIEF]
    if head in POSED and dataset != "lip":
        assert call("train", *command) == 2
        assert "dataset=lip dataset.poses=true, which reads lip_train_set.csv" in capsys.readouterr().err
        return
    if dataset == "ade20k" and "image_weights" in config_of(head).loss:
        assert call("train", *command) == 2, "it has no body parts"
        command.append("~loss.image_weights")
    assert call("train", *command) == 0
    (evaluation,) = Result.read(run_of("runs", head).result).evaluations.values()
    assert 0 <= evaluation.miou <= 1


RECIPES = [name for name in options("experiment") if name in SYSTEMS]
"""Systems with an experiment of their own recipe."""


@pytest.mark.parametrize("head", RECIPES)
def test_its_own_recipe_trains(head: str, cityscapes_tree: Path, workplace: Path, call: Main) -> None:
    dataset = compose(f"experiment={head}").dataset._target_.rpartition(".")[2].lower()
    if dataset in ON:
        tree, small, _ = ON[dataset]
        data = (f"dataset.root={tree(workplace / 'data', train=SIZES, val=SIZES[:2])}", *small)
    else:
        data = (f"dataset.root={cityscapes_tree}", "dataset.crop_size=[32,64]")
    recipe = (f"experiment={head}", *data, "dataset.num_workers=0", *BRIEF)
    own = [o for o in chosen(head, SHORT) if not o.startswith(("dataset", "schedule=", "schedule.max_steps"))]
    assert call("train", *own, *recipe, "hydra.mode=RUN") == 0
    result = Result.read(run_of(head, head).result)
    assert result.steps == 2


@pytest.mark.parametrize("head", POSED)
def test_a_system_with_poses_refuses_a_tree_without_them(
    head: str, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    root = lip_tree(workplace / "data", train=SIZES, val=SIZES[:2])
    data = ("dataset=lip", f"dataset.root={root}", "dataset.num_workers=0", *ON["lip"][1], "schedule.batch_size=2")
    joints = (f"dataset.root={lip_tree(workplace / 'posed', poses=True, train=SIZES, val=SIZES[:2])}",)
    for more, words in {
        (): "lip_train_set.csv: no such file",
        ("dataset.poses=false",): "dataset.poses=true",
        (*joints, "model.head.joints=15"): "set model.head.joints=16",
    }.items():
        assert call("train", *chosen(head, SHORT), *data, *more) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert words in error


@pytest.mark.parametrize("head", POSED)
def test_a_test_needs_no_poses(head: str, workplace: Path, call: Main) -> None:
    assert call("train", *chosen(head), "schedule.max_steps=1") == 0
    shutil.rmtree("people/TrainVal_pose_annotations")
    assert call("evaluate", f"checkpoint={run_of('runs', head).last_checkpoint}", "inference=flip") == 0
