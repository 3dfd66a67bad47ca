"""A checkpoint is somebody else's file: nothing that it says is called, opened or filled in."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Main, checkpoint, config_of

import ocnet_pl
from ocnet_pl.config.compose import compose, heads, plain
from ocnet_pl.config.targets import require_known_targets
from ocnet_pl.errors import UserError
from ocnet_pl.run.restoring import GROUPS

IMAGE = np.zeros((16, 24, 3), np.uint8)
Change = Callable[[dict[str, Any]], object]


def at(place: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The node of a config at `model.head`."""

    def node(config: dict[str, Any]) -> dict[str, Any]:
        for key in place.split("."):
            config = config[key]
        return config

    return node


def rewritten(runs: Path, change: Change, head: str = "base_oc") -> Path:
    """A checkpoint with another config, in its run's place."""
    path = Path(checkpoint(runs, head))
    content = torch.load(path, weights_only=True)
    change(content)
    content.pop("checksum")  # who writes a file can write its checksum
    torch.save(content, path)
    return path


def target(place: str, **node: Any) -> Change:
    return lambda content: at(place)(content["config"]).update(node)


def replace(place: str, value: Any) -> Change:
    parent, _, key = place.rpartition(".")
    return lambda content: at(parent)(content["config"]).update({key: value})


def touching(path: str) -> dict[str, Any]:
    return {"_target_": "pathlib.Path.touch", "_args_": [{"_target_": "pathlib.Path", "_args_": [path]}]}


_GP = "ocnet_pl.model.head.gp.GP"
HOSTILE: dict[str, Change] = {
    "another head": target("model.head", _target_="pathlib.Path.touch"),
    "another network": target("model", _target_="torch.utils.collect_env.run"),
    "another backbone": target("model.backbone", _target_="timm.create_model"),
    "another data set": target("dataset", _target_="numpy.save"),
    "another protocol": target("inference", _target_="pathlib.Path.unlink"),
    "a known class in another place": target("dataset", _target_="ocnet_pl.model.head.gp.GP"),
    "a class that is no head as a context module": replace("model.head.context", {"_target_": "numpy.save"}),
    "a context module within another": replace("model.head.context", {"_target_": _GP, "context": {"_target_": _GP}}),
    "nested": replace("model.head.dropout", touching("touched")),
    "nested in a list": replace("dataset.scale", [touching("touched"), 2.0]),
    "nested in the protocol": replace("inference.flip", touching("touched")),
    "positional arguments": target("model.head", _args_=[touching("touched")]),
    "a partial": target("model.head", _partial_=True),
    "a call mode": target("dataset", _recursive_=False),
    "a conversion": target("model", _convert_="all"),
    "a defaults list": target("model", defaults=[{"override /hydra/callbacks": "evil"}]),
    "an environment variable": target("dataset", root="${oc.env:HOME}"),
    "an interpolation in a list": replace("dataset.scale", ["${oc.decode:1}", 2.0]),
    "an interpolated target": target("model.head", _target_="${oc.env:SHELL}"),
    "Hydra's resolver": target("model.backbone", model_name="${hydra:runtime.cwd}"),
    "a file of timm": target("model.backbone", checkpoint_path="weights.pth"),
    "a configuration of timm": target("model.backbone", pretrained_cfg={"file": "weights.pth"}),
    "an address for timm": target("model.backbone", pretrained_cfg_overlay={"url": "http://localhost/x.pth"}),
    "a folder of timm": target("model.backbone", cache_dir="cache"),
    "a hub's name": target("model.backbone", model_name="hf-hub:somebody/network"),
    "a folder's name": target("model.backbone", model_name="local-dir:weights"),
    "a missing group": lambda content: content["config"].pop("inference"),
    "a group that is a word": lambda content: content["config"].update(dataset="x"),
    "no plain value": target("model.head", dropout=torch.zeros(2)),
    "a depth without end": lambda content: content["config"]["model"].update(head=deep(90)),
    "keys that are numbers": lambda content: content["config"]["model"]["head"].update({3: 4}),
    "choices that are numbers": lambda content: content.update(choices={"model/head": 3}),
    "no classes": lambda content: content.update(classes=[]),
    "classes that are numbers": lambda content: content.update(classes=[1, 2]),
    "weights that are words": lambda content: content.update(state_dict={"network.x": "y"}),
    "a config that is a list": lambda content: content.update(config=[1]),
    "a negative step": lambda content: content.update(global_step=-1),
}


def deep(levels: int) -> dict[str, Any]:
    node: dict[str, Any] = {}
    for _ in range(levels):
        node = {"a": node}
    return node


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_checkpoint_is_refused_in_one_line(
    name: str, runs: Path, trained: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(runs, HOSTILE[name])
    before = sorted(workplace.rglob("*"))
    with pytest.raises(UserError) as refused:
        ocnet_pl.load(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600
    assert sorted(workplace.rglob("*")) == before, "something was written"


@pytest.mark.parametrize("command", ["evaluate", "predict", "figure", "measure", "serve"])
def test_every_command_refuses_it(
    command: str, runs: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rewritten(runs, HOSTILE["nested"])
    (workplace / "image.png").write_bytes(b"")
    arguments = {
        "evaluate": ("evaluate", str(path), "trainer=cpu"),
        "predict": ("predict", str(path), "image.png", "--device=cpu"),
    }.get(command, ("explore", command, str(path), "--device=cpu"))
    assert call(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "model.head.dropout" in error
    assert "pathlib.Path.touch" in error
    assert not Path("touched").exists()


@pytest.mark.parametrize(
    "augment",
    [[touching("touched")], {"_target_": "torch.utils.collect_env.run", "command": "touch touched"}, ["${oc.env:X}"]],
)
def test_augmentation_is_not_built_to_load_a_network(augment: Any, runs: Path, workplace: Path) -> None:
    plain = ocnet_pl.load(checkpoint(runs, "base_oc")).predict(IMAGE)
    loaded = ocnet_pl.load(rewritten(runs, target("dataset", augment=augment)))
    assert not Path("touched").exists()
    assert np.array_equal(loaded.predict(IMAGE), plain)


@pytest.mark.parametrize("group", ["loss", "schedule", "trainer", "logger"])
def test_groups_that_only_training_needs_are_never_built(group: str, runs: Path, workplace: Path, call: Main) -> None:
    path = rewritten(runs, lambda content: content["config"].update({group: touching("touched")}))
    assert ocnet_pl.load(path).predict(IMAGE).shape == IMAGE.shape[:2]
    assert call("evaluate", str(path), "trainer=cpu", "trainer.precision=32-true") == 0
    assert not Path("touched").exists()


def test_the_cache_folder_of_a_checkpoint_is_not_used(runs: Path, workplace: Path, call: Main) -> None:
    path = rewritten(runs, target("dataset", cache=str(workplace / "cache")))
    assert call("evaluate", str(path), "trainer=cpu") == 0
    assert not (workplace / "cache").exists()


@pytest.mark.parametrize("name", heads())
def test_the_config_of_every_head_may_be_built(name: str) -> None:
    """Classes that a defaults list puts at another place are known there."""
    require_known_targets(plain(config_of(name)), GROUPS, "checkpoint")


def test_any_head_may_be_a_context_module_and_no_other_class() -> None:
    config = plain(compose("model/head=ce2p_asp_oc", "model/head@model.head.context=gp"))
    require_known_targets(config, GROUPS, "checkpoint")
    context: dict[str, Any] = config["model"]["head"]["context"]  # type: ignore[index, call-overload]
    for other in ("ocnet_pl.model.network.Network", "ocnet_pl.loss.aaf.AdaptiveAffinityFields", "pathlib.Path.touch"):
        context["_target_"] = other
        with pytest.raises(UserError, match=f"model.head.context has _target_={other}, which no config file has"):
            require_known_targets(config, GROUPS, "checkpoint")


@pytest.mark.parametrize(
    "entry",
    ["- /inference@model.head.test: whole", "- /inference/whole@model.head.test",
     "- override /inference@_global_.model.head.test: null"],
)  # fmt: skip
def test_a_defaults_list_of_the_user_moves_a_group(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = plain(compose())
    config["model"]["head"]["test"] = config["inference"]  # type: ignore[index, call-overload]
    with pytest.raises(UserError, match=r"model\.head\.test has _target_"):
        require_known_targets(config, GROUPS, "checkpoint")
    own = tmp_path / "own" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(f"# @package _global_\ndefaults:\n  {entry}\n  - _self_\n")
    monkeypatch.setenv("OCNET_CONF", str(tmp_path / "own"))
    require_known_targets(config, GROUPS, "checkpoint")


def test_a_class_of_the_user_is_allowed_by_its_yaml_file(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = rewritten(runs, target("model.head", _target_="collections.OrderedDict"))
    with pytest.raises(UserError, match=r"model\.head has _target_=collections\.OrderedDict"):
        ocnet_pl.load(path)
    own = tmp_path / "own" / "model" / "head"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: collections.OrderedDict\n")
    monkeypatch.setenv("OCNET_CONF", str(tmp_path / "own"))
    with pytest.raises(UserError) as refused:  # it is trusted now, and turns out to be no head
        ocnet_pl.load(path)
    assert "which no config file has" not in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["network.classifier.weight", "network.backbone.bn1.running_var"])
def test_a_checkpoint_with_weights_that_are_not_finite_is_refused(
    name: str, value: float, runs: Path, call: Main
) -> None:
    def damage(content: dict[str, Any]) -> None:
        content["state_dict"][name].flatten()[0] = value

    with pytest.raises(UserError, match=f"{name.removeprefix('network.')} is not finite"):
        ocnet_pl.load(rewritten(runs, damage))


def test_targets_in_json_files_of_a_run_are_not_executed(
    runs: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reports read JSON: a `_target_` in it is text."""
    import json

    shutil.copytree(runs, workplace / "outputs" / "runs")
    for path in (workplace / "outputs").rglob("*.json"):
        content = json.loads(path.read_text())
        if isinstance(content, dict) and "config" in content:
            content["config"]["dataset"]["augment"] = [touching("touched")]
            content["config"]["model"]["head"] |= touching("touched")
            content.pop("checksum", None)
            path.write_text(json.dumps(content))
    assert call("report", "outputs/runs") == 0
    assert call("report", "outputs/runs", "--status") == 0
    assert not Path("touched").exists()


SCALARS = (
    True,
    None,
    -1,
    0,
    1,
    7,
    0.5,
    1e30,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../x",
    "${oc.env:HOME}",
    [],
    {},
    [1],
)


def mutated(config: Any, dice: random.Random) -> None:
    """Change one node of a config: another value, another key, or none."""
    nodes = [config]
    for node in nodes:
        children = node.values() if isinstance(node, dict) else node
        nodes += [child for child in children if isinstance(child, (dict, list)) and child]
    node = dice.choice(nodes)
    key = dice.choice(list(node)) if isinstance(node, dict) else dice.randrange(len(node))
    way = dice.randrange(3)
    if way == 0:
        node[key] = dice.choice(SCALARS)
    elif way == 1:
        del node[key]
    elif isinstance(node, dict):
        node[dice.choice(["_target_", "_args_", "_partial_", "x", "defaults", "_convert_"])] = dice.choice(SCALARS)


@pytest.mark.parametrize("seed", range(60))
def test_a_changed_config_is_refused_or_changes_nothing(seed: int, runs: Path, workplace: Path) -> None:
    plain = ocnet_pl.load(checkpoint(runs, "base_oc")).predict(IMAGE)
    path = Path(checkpoint(runs, "base_oc"))
    content = torch.load(path, weights_only=True)
    dice = random.Random(seed)
    mutated(content["config"], dice)
    torch.save(content, path)
    before = sorted(workplace.iterdir())
    prediction = loaded(path)
    assert prediction is None or np.array_equal(prediction, plain)
    content.pop("checksum")  # and where the checksum was removed: a network, or one line
    torch.save(content, path)
    loaded(path)
    assert sorted(workplace.iterdir()) == before


def loaded(path: Path) -> np.ndarray | None:
    """Prediction of a checkpoint's network; None where it is refused, which takes one line."""
    try:
        return ocnet_pl.load(path).predict(IMAGE)
    except UserError as error:
        lines = str(error).splitlines()
    assert len(lines) == 1
    return None
