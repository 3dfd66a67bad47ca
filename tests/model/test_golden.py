"""Our heads with the weights of the authors' modules give the outputs and gradients of the authors' modules."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ocnet_pl.model.head.asp_oc import ASPOC
from ocnet_pl.model.head.base_oc import BaseOC
from ocnet_pl.model.head.pyramid_oc import PyramidOC

GOLDEN = Path(__file__).parents[1] / "golden"

COMMON = {"f_key": "key", "f_value": "value", "W": "project"}
BASE = {"stages.0": "pool", "conv_bn_dropout": "fuse"}
PYRAMID = {"stages": "pools", "conv_bn_dropout": "fuse", "up_dr": "identity"}
ASP = {
    "context.2.stages.0": "pyramid.context.1",
    "context.2.conv_bn_dropout": "pyramid.context.2",
    "context.0": "pyramid.context.0.0",
    "context.1": "pyramid.context.0.1",
    "conv2": "pyramid.point",
    "conv3": "pyramid.dilated.0",
    "conv4": "pyramid.dilated.1",
    "conv5": "pyramid.dilated.2",
    "conv_bn_dropout": "pyramid.fuse",
}


def without_reduction(head: nn.Module) -> nn.Module:
    """The authors' modules begin after the 3x3 reduction."""
    head.reduce = nn.Identity()
    return head


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, str], int]] = {
    "base_oc": (lambda: without_reduction(BaseOC(16, 16, key_channels=8)), BASE, 1),
    "pyramid_oc": (lambda: without_reduction(PyramidOC(16, 16, key_channels=8)), PYRAMID, 1),
    "asp_oc_paper": (lambda: ASPOC(16, 8, branch_channels=8, key_channels=4), ASP, 3),
    "asp_oc_release": (lambda: ASPOC(16, 16, branch_channels=8, key_channels=4), ASP, 3),
}


def ours(name: str, prefixes: dict[str, str]) -> str:
    for theirs, mine in prefixes.items():
        if name == theirs or name.startswith(f"{theirs}."):
            name = mine + name.removeprefix(theirs)
            break
    return ".".join(COMMON.get(part, part) for part in name.split("."))


def load(case: str) -> tuple[nn.Module, dict[str, Tensor], int]:
    build, prefixes, step = CASES[case]
    golden = {name: torch.from_numpy(array) for name, array in np.load(GOLDEN / f"{case}.npz").items()}
    weights = {ours(n.removeprefix("param/"), prefixes): t for n, t in golden.items() if n.startswith("param/")}
    head = build()
    missing = head.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all(name.endswith("num_batches_tracked") for name in missing.missing_keys)
    for module in head.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return head, golden, step


@torch.no_grad()
def distance(case: str, *, training: bool, change: Callable[[nn.Module], None] = lambda head: None) -> float:
    """Largest difference to the authors' output."""
    head, golden, step = load(case)
    change(head)
    # With batch statistics the float32 of the golden files is itself 3.5e-5 from the exact result of ASP-OC.
    dtype = torch.float64 if training else torch.float32
    output = head.to(dtype).train(training)(golden["x"].to(dtype))[:, :, ::step, ::step]
    return float((output - golden["y_train" if training else "y_eval"]).abs().max())


@pytest.mark.parametrize("case", CASES)
def test_outputs_in_evaluation(case: str) -> None:
    assert distance(case, training=False) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_outputs_in_training(case: str) -> None:
    scale = float(load(case)[1]["y_train"].abs().max())
    assert distance(case, training=True) <= 1e-5 * scale


@pytest.mark.parametrize("case", CASES)
def test_gradients(case: str) -> None:
    head, golden, step = load(case)
    features = golden["x"].requires_grad_()
    (gradient,) = torch.autograd.grad((head.train()(features) * golden["grad_seed"]).sum(), features)
    theirs = golden["grad_x_train"]
    assert (gradient[:, :, ::step, ::step] - theirs).abs().max() <= 1e-4 * theirs.abs().max()


def one_weight(head: nn.Module) -> None:
    with torch.no_grad():
        head.get_parameter("pyramid.point.0.weight" if isinstance(head, ASPOC) else "fuse.0.weight")[0, 0] += 0.01


def steeper_slope(head: nn.Module) -> None:
    for module in head.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = 0.02


def other_order(head: nn.Module) -> None:
    weight = (head.pyramid if isinstance(head, ASPOC) else head).fuse[0].weight
    with torch.no_grad():
        weight.copy_(weight.roll(weight.shape[1] // 2, 1))


def other_pooling(head: nn.Module) -> None:
    for module in head.modules():
        if hasattr(module, "downsample"):
            module.downsample = 3 - module.downsample


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("change", [one_weight, steeper_slope, other_order, other_pooling])
def test_any_change_would_be_seen(case: str, change: Callable[[nn.Module], None]) -> None:
    assert distance(case, training=False, change=change) > 1e-4
