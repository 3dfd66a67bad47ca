"""OCNet's heads with the weights of the authors' modules give the outputs and gradients of the authors' modules."""

import torch
from changes import Change, rolled_inputs, set_to, with_slope
from golden_case import GoldenCase, GoldenTests
from torch import Tensor, nn

from ocnet_pl.model.head.asp_oc import ASPOC
from ocnet_pl.model.head.base_oc import BaseOC
from ocnet_pl.model.head.pyramid_oc import PyramidOC


def pooling(theirs: str, mine: str) -> dict[str, str]:
    return {f"{theirs}.f_key": f"{mine}.key", f"{theirs}.f_value": f"{mine}.value", f"{theirs}.W": f"{mine}.project"}


BASE = {**pooling("stages.0", "pool"), "conv_bn_dropout": "fuse"}
PYRAMID = {"conv_bn_dropout": "fuse", "up_dr": "identity"}
for number in range(4):
    PYRAMID |= pooling(f"stages.{number}", f"pools.{number}")
ASP = {
    "context.0": "pyramid.context.0.0", "context.1": "pyramid.context.0.1",
    **pooling("context.2.stages.0", "pyramid.context.1"), "context.2.conv_bn_dropout": "pyramid.context.2",
    "conv2": "pyramid.point", "conv3": "pyramid.dilated.0", "conv4": "pyramid.dilated.1", "conv5": "pyramid.dilated.2",
    "conv_bn_dropout": "pyramid.fuse",
}  # fmt: skip


def without_reduction(head: BaseOC | PyramidOC) -> nn.Module:
    """The authors' modules begin after the 3x3 reduction."""
    head.reduce = nn.Identity()
    return head


def base_oc() -> nn.Module:
    return without_reduction(BaseOC(16, 16, key_channels=8, dropout=0.0))


def pyramid_oc() -> nn.Module:
    return without_reduction(PyramidOC(16, 16, key_channels=8, dropout=0.0))


def asp_oc(width: int) -> nn.Module:
    return ASPOC(16, width, branch_channels=8, key_channels=4, dropout=0.0)


def outputs(head: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    # With batch statistics the float32 of the golden files is itself 3.5e-5 from the exact result of ASP-OC.
    dtype = torch.float64 if head.training else torch.float32
    return {"features": head.to(dtype)(inputs["features"].to(dtype))}


def one_kernel(name: str) -> Change:
    def change(head: nn.Module) -> None:
        with torch.no_grad():
            head.get_parameter(name)[0, 0] += 0.01

    return change


class TestBaseOC(GoldenTests):
    case = GoldenCase(
        "base_oc",
        base_oc,
        outputs,
        BASE,
        weight_gradients=0,
        tolerance=3e-6,
        changes={
            "one kernel": one_kernel("fuse.0.weight"),
            "steeper": with_slope(0.02),
            "inputs of the fusion": rolled_inputs("fuse.0.weight", 16),
            "attention on a smaller map": set_to("downsample", 2, "pool"),
        },
    )


class TestPyramidOC(GoldenTests):
    case = GoldenCase(
        "pyramid_oc",
        pyramid_oc,
        outputs,
        PYRAMID,
        weight_gradients=0,
        tolerance=3e-6,
        changes={
            "one kernel": one_kernel("fuse.0.weight"),
            "steeper": with_slope(0.02),
            "inputs of the fusion": rolled_inputs("fuse.0.weight", 64),
            **{f"smaller map in pool {i}": set_to("downsample", 2, f"pools.{i}") for i in range(4)},
        },
    )


OF_ASP_OC = {
    "one kernel": one_kernel("pyramid.point.0.weight"),
    "steeper": with_slope(0.02),
    "inputs of the fusion": rolled_inputs("pyramid.fuse.0.weight", 20),
    "attention on the whole map": set_to("downsample", 1, "pyramid.context.1"),
}


class TestASPOCOfThePaper(GoldenTests):
    case = GoldenCase(
        "asp_oc_paper", lambda: asp_oc(8), outputs, ASP, weight_gradients=0, tolerance=3e-6, changes=OF_ASP_OC
    )


class TestASPOCAsReleased(GoldenTests):
    case = GoldenCase(
        "asp_oc_release", lambda: asp_oc(16), outputs, ASP, weight_gradients=0, tolerance=3e-6, changes=OF_ASP_OC
    )
