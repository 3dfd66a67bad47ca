"""Files that commit e3130df wrote, before class paths moved: read with the numbers of then, or refused in one line.

`written_by_e3130df.json` holds the config and the result of a run of that commit, and for four heads the names and
shapes of the weights and the logits that its code computed from `generated` weights. The run was trained on the scenes
of the demo of then, which were a tree of Cityscapes with all its classes: such a tree takes their place.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SHORT, Main
from torch import Tensor
from trees import cityscapes_tree

import ocnet_pl
from ocnet_pl.config.renamed import modernised
from ocnet_pl.errors import UserError
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.run.restoring import restore

OLD: dict[str, Any] = json.loads(Path(__file__).with_name("written_by_e3130df.json").read_text())
SCENES: dict[str, Any] = OLD["config"]["dataset"]
CITYSCAPES = {
    **{key: value for key, value in SCENES.items() if key not in ("image_size", "num_images", "drawing_seed")},
    "_target_": "ocnet_pl.dataset.cityscapes.Cityscapes",
    "root": "data/cityscapes",
}
IMAGE = (np.arange(3 * 16 * 24).reshape(16, 24, 3) * 7 % 256).astype(np.uint8)
COMMAND = (
    *SHORT, "dataset=cityscapes", "dataset.root=data/cityscapes", "dataset.crop_size=[32,64]", "dataset.num_workers=0",
    "dataset.scale=[0.9,1.1]", "name=old", "model/head=gp",
)  # fmt: skip
"""The command that the run of the file was trained by, but for its data set."""


def generated(name: str, shape: list[int]) -> Tensor:
    """Weights that are a formula, as for the logits of the file."""
    size = int(np.prod(shape))
    if not shape:
        return torch.ones((), dtype=torch.int64)
    values = (torch.arange(size, dtype=torch.float64) * (0.37 + 0.01 * len(name))).sin().reshape(shape).float()
    if name.endswith("running_var"):
        return values.abs() + 0.5
    if len(shape) > 1:
        return values * (3.0 / (size / shape[0])) ** 0.5
    return values * 0.1 + (1.0 if name.endswith("weight") else 0.0)


def old_checkpoint(path: Path, head: str, dataset: dict[str, Any] = CITYSCAPES) -> Path:
    model = OLD["config"]["model"] | {"head": OLD["heads"][head]["head"]}
    config = OLD["config"] | {"model": model, "dataset": dataset}
    weights = {name: generated(name, shape) for name, shape in OLD["heads"][head]["weights"].items()}
    content = {"config": config, "choices": OLD["choices"] | {"model/head": head}, "classes": OLD["classes"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**content, "state_dict": weights, "global_step": 6}, path)
    return path


@pytest.fixture
def old_run(workplace: Path) -> RunDirectory:
    """A finished run of that commit in its place below `workplace`."""
    run = RunDirectory(workplace / "outputs/old/gp/seed-0")
    old_checkpoint(run.last_checkpoint, "gp")
    run.started.write_text(json.dumps(OLD["config"] | {"dataset": CITYSCAPES}))
    cityscapes_tree(workplace / "data/cityscapes", train=[(32, 64)] * 8, val=[(32, 64)] * 5)
    run.result.write_text(json.dumps(OLD["result"]))
    return run


@pytest.mark.parametrize("head", OLD["heads"])
def test_a_checkpoint_computes_the_logits_of_then(head: str, tmp_path: Path) -> None:
    predictor = ocnet_pl.load(old_checkpoint(tmp_path / "last.ckpt", head))
    logits = predictor.predict_logits(IMAGE)[:, 5, 7]
    assert torch.allclose(logits, torch.tensor(OLD["heads"][head]["logits"]), atol=2e-5)


def test_a_network_of_the_older_demo_is_refused(tmp_path: Path) -> None:
    path = old_checkpoint(tmp_path / "last.ckpt", "gp", SCENES)
    with pytest.raises(UserError, match=r"19 classes \(road, \.\.\.\), not those of Demo \(8\); give dataset=NAME"):
        ocnet_pl.load(path)
    restored = restore(path, ["dataset=cityscapes", "dataset.root=x"])
    assert len(restored.data.classes) == 19


def test_defaults_that_changed_keep_their_old_value(tmp_path: Path) -> None:
    restored = restore(old_checkpoint(tmp_path / "last.ckpt", "base_oc"))
    norms = [part.momentum for part in restored.predictor.network.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert set(norms) == {0.1}, "today's default of the shared key norm is 0.19"
    ade20k = {"dataset": {"_target_": "ocnet_pl.dataset.ade20k.ADE20K", "root": "x"}}
    assert modernised(ade20k)["dataset"]["absent_classes"] == "skip", "today's default is zero"
    today = {"dataset": {**ade20k["dataset"], "absent_classes": "zero"}, "model": {"head": {"key_momentum": None}}}
    assert modernised(today) == today


def test_only_known_old_names_are_translated() -> None:
    config = {"model": {"_target_": "ocnet_pl.model.ocnet.Other", "head": {"_target_": "os.remove", "root": "x"}}}
    assert modernised(config) == config


def test_a_finished_run_is_evaluated_and_reported(
    old_run: RunDirectory, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", str(old_run.last_checkpoint), "trainer=cpu", "inference=flip") == 0
    assert str(old_run.result.relative_to(Path.cwd())) in capsys.readouterr().out
    evaluations = json.loads(old_run.result.read_text())["evaluations"]
    assert set(evaluations) == {"last/val/whole", "last/val/flip"}
    assert evaluations["last/val/whole"].items() >= OLD["result"]["evaluations"]["last/val/whole"].items()
    assert call("report", "outputs/old") == 0
    assert f"{100 * evaluations['last/val/whole']['miou']:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("sweep", [True, False])
def test_its_command_does_not_train_over_it(
    finished: bool, sweep: bool, old_run: RunDirectory, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    """Losses and norm statistics compute other numbers today: such a run is not resumed, and not replaced."""
    if not finished:
        old_run.result.unlink()
    before = {path: path.read_bytes() for path in old_run.path.rglob("*") if path.is_file()}
    assert call("train", *(["-m"] if sweep else []), *COMMAND) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert str(Path("outputs/old/gp/seed-0")) in error
    assert "torch.nn.CrossEntropyLoss" in error
    assert "name=" in error
    assert {path: path.read_bytes() for path in before} == before
    assert old_run.result.is_file() == finished


def test_a_row_starts_from_its_network(old_run: RunDirectory, call: Main) -> None:
    assert call("train", *COMMAND, "row=child", "parent=gp", "schedule.max_steps=0") == 0
    content = torch.load("outputs/old/child/seed-0/checkpoints/last.ckpt", weights_only=True)
    name = "network.classifier.weight"
    assert torch.equal(content["state_dict"][name], generated(name, OLD["heads"]["gp"]["weights"][name]))
