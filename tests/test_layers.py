"""Imports only point down: the table of CONTRIBUTING.md, checked."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "ocnet_pl"

LAYERS = {
    0: ["errors", "randomness", "identity", "metrics", "counting", "loss", "statistics", "process",
        "command_line", "device", "gpus", "whole_file", "curves", "measuring", "resizing", "model/layers",
        "model/attention", "model/partition", "model/object_context_pooling", "model/positions", "model/head/*",
        "dataset/transforms", "dataset/reading"],
    1: ["model/ocnet", "model/object_context", "model/backbone", "inference", "run_directory", "result", "paper",
        "cost", "context", "plan", "scores", "status", "table/*", "dataset/report", "dataset/timing", "rendering/*",
        "provenance", "authors", "image_scores", "wandb_account", "wandb_content"],
    2: ["module", "checkpoint", "progress", "samples", "prediction", "stopping", "wandb_mirror",
        "context_measuring", "dataset/*"],
    3: ["config", "build", "run", "evaluation", "restoring", "sweep", "conversion", "profiling", "exploring",
        "context_of_checkpoint", "context_picture", "context_of_runs", "judging", "viewing", "serving"],
    4: ["command/*"],
}  # fmt: skip

HEAVY = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "timm", "albumentations"}
FORBIDDEN = {
    "run_directory": HEAVY, "result": HEAVY, "paper": HEAVY, "table": HEAVY, "rendering": HEAVY, "statistics": HEAVY,
    "metrics": HEAVY, "identity": HEAVY, "sweep": HEAVY, "config": HEAVY, "command": HEAVY,
    "authors": HEAVY, "cost": HEAVY, "context": HEAVY, "image_scores": HEAVY, "wandb_account": HEAVY,
    "wandb_content": HEAVY, "plan": HEAVY, "scores": HEAVY, "status": HEAVY,
    "dataset/reading": HEAVY, "dataset/labels": HEAVY, "dataset/inspection": HEAVY, "dataset/parallel": HEAVY,
    "dataset/pictures": HEAVY,
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


@pytest.mark.parametrize("module", [m for m in modules() if {m, m.split("/")[0]} & set(FORBIDDEN)])
def test_light_modules_stay_light(module: str) -> None:
    forbidden = FORBIDDEN.get(module) or FORBIDDEN[module.split("/")[0]]
    assert not {name.split(".")[0] for name in imports(module, late=False)} & forbidden
