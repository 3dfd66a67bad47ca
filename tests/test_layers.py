"""Imports only point down: the table of CONTRIBUTING.md, checked."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ocnet_pl"

LAYERS = {
    0: ["errors", "escaping", "randomness", "metrics", "counting", "loss", "statistics", "process", "command_line",
        "device", "whole_file", "resizing", "run/identity", "run/lock", "run/curves", "sweep/gpus", "cost/measuring",
        "expect", "arguments",
        "model/layers", "model/blocked_attention", "model/attention", "model/partition", "model/object_context_pooling",
        "model/positions", "model/head/*", "dataset/transforms", "dataset/reading", "dataset/headers",
        "dataset/stored_ids", "dataset/labels", "dataset/listing", "dataset/fingerprint"],
    1: ["model/ocnet", "model/object_context", "model/backbone", "inference", "paper", "submission", "run/directory",
        "run/record", "run/result", "run/image_counts", "run/image_scores", "run/sample_pictures", "run/provenance",
        "sweep/plan", "sweep/scores", "sweep/status", "cost/record", "context/record",
        "authors/naming", "wandb_mirror/account", "wandb_mirror/content", "table/*",
        "dataset/report", "dataset/timing", "rendering/*"],
    2: ["module", "prediction", "run/checkpoint", "run/divergence", "run/images", "run/missed_validation",
        "run/progress", "run/samples", "run/stopping", "run/testing", "wandb_mirror/logger", "context/measuring",
        "dataset/*"],
    3: ["search_path", "known_targets", "config", "config_values", "build", "run/training", "run/evaluation",
        "run/restoring", "sweep/*", "cost/profiling", "authors/conversion", "context/*", "explore/*"],
    4: ["command/*"],
}  # fmt: skip

HEAVY = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "timm", "albumentations"}
LIGHT = {
    "search_path", "known_targets", "config", "config_values", "expect", "metrics", "statistics", "paper",
    "command", "sweep", "table", "rendering",
    "run/directory", "run/lock", "process", "run/record", "run/result", "run/image_counts", "run/image_scores",
    "run/sample_pictures", "run/identity", "run/curves", "cost/record", "context/record",
    "authors/naming", "wandb_mirror/account", "wandb_mirror/content",
    "dataset/reading", "dataset/headers", "dataset/stored_ids", "dataset/listing", "dataset/fingerprint",
    "dataset/labels", "dataset/inspection", "dataset/parallel", "dataset/pictures",
}  # fmt: skip
"""Nothing that a report, `--help` or a process of `ocnet-data check` needs may wait for torch."""


def modules() -> list[str]:
    paths = [p.relative_to(SOURCE).with_suffix("").as_posix() for p in SOURCE.rglob("*.py")]
    return sorted(p for p in paths if not p.endswith("__init__"))


def layer(module: str) -> int:
    exact = [n for n, names in LAYERS.items() if module in names]
    pattern = [n for n, names in LAYERS.items() if f"{module.rsplit('/', 1)[0]}/*" in names]
    assert exact or pattern, f"{module}: in no layer; give it one here and in CONTRIBUTING.md"
    return (exact or pattern)[0]


def imports(module: str, *, late: bool) -> set[str]:
    tree = ast.parse((SOURCE / f"{module}.py").read_text())
    nodes = ast.walk(tree) if late else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(names: set[str]) -> set[str]:
    paths = {name.removeprefix("ocnet_pl.").replace(".", "/") for name in names if name.startswith("ocnet_pl.")}
    return {path for path in paths if (SOURCE / f"{path}.py").is_file()}


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module: str) -> None:
    for other in ours(imports(module, late=True)):
        assert layer(other) <= layer(module), f"{module} imports {other}, which is above it"
        if module.startswith("command/"):
            assert not other.startswith("command/"), f"{module} imports {other}: commands do not know each other"
        if module.startswith("model/ocnet"):
            assert not other.startswith("model/head"), "the network knows no particular head"


@pytest.mark.parametrize("module", modules())
def test_only_the_door_knows_hydra(module: str) -> None:
    known = {name.split(".")[0] for name in imports(module, late=True)} & {"hydra", "omegaconf"}
    assert not known or layer(module) >= 3


@pytest.mark.parametrize("module", [m for m in modules() if {m, m.split("/")[0]} & LIGHT])
def test_light_modules_stay_light(module: str) -> None:
    assert not {name.split(".")[0] for name in imports(module, late=False)} & HEAVY
