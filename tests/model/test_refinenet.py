"""RefineNet with the weights of a public PyTorch module gives that module's outputs and gradients."""

import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, leaky
from golden_case import GoldenCase, GoldenTests, Patch, resampled, returning
from torch import Tensor, nn

from ocnet_pl.model.head import refinenet
from ocnet_pl.model.head.refinenet import ChainedPooling, RefinementStage, RefineNet, ResidualConvolution

NAMES = {"clf_conv": "classifier"}
for group in range(1, 5):
    ours = f"stages.{4 - group}"
    NAMES[f"p_ims1d2_outl{group}_dimred"] = f"{ours}.reduce"
    NAMES[f"adapt_stage{group}_b2_joint_varout_dimred"] = f"{ours}.project"
    NAMES[f"mflow_conv_g{group}_b3_joint_varout_dimred"] = f"{ours}.output"
    for theirs, mine in ((f"adapt_stage{group}_b", "adapt"), (f"mflow_conv_g{group}_b", "refine")):
        for unit in range(3):
            NAMES[f"{theirs}.0.{unit + 1}_conv"] = f"{ours}.{mine}.{unit}.first"
            NAMES[f"{theirs}.0.{unit + 1}_conv_relu_varout_dimred"] = f"{ours}.{mine}.{unit}.second"
    for link in range(4):
        NAMES[f"mflow_conv_g{group}_pool.0.{link + 1}_outvar_dimred"] = f"{ours}.pooling.convolutions.{link}"


def improved(head: nn.Module) -> None:
    for part in head.modules():
        if isinstance(part, ChainedPooling):
            part.improved = True


def active_before_the_split(unit: ResidualConvolution, features: Tensor) -> Tensor:
    active = unit.first_activation(features)
    return active + unit.second(unit.second_activation(unit.first(active)))  # type: ignore[no-any-return]


def summed_before_the_convolution(part: RefinementStage, stage: Tensor, coarser: Tensor | None = None) -> Tensor:
    joined = part.adapt(part.reduce(stage))
    if coarser is not None:
        joined = joined + refinenet.upsample(coarser, joined.shape[-2:])
    return part.output(part.refine(part.pooling(part.activation(part.project(joined)))))  # type: ignore[no-any-return]


class TestRefineNet(GoldenTests):
    case = GoldenCase(
        "refinenet",
        lambda: RefineNet((6, 8, 10, 12), 5, 6, coarse_channels=8, dropout=0.0),
        returning("logits"),
        NAMES,
        weight_gradients=4,
        changes={
            "leaky": leaky,
            "improved pooling": improved,
            "refining units": exchanged("stages.0.refine.0", "stages.0.refine.1"),
            "adapting units": exchanged("stages.1.adapt.0", "stages.1.adapt.1"),
            "links of the pooling": exchanged("stages.2.pooling.convolutions.0", "stages.2.pooling.convolutions.3"),
            "projection and output": exchanged("stages.1.project", "stages.1.output"),
            "corners not aligned": resampled(refinenet, "upsample", "bilinear"),
            "nearest": resampled(refinenet, "upsample", "nearest"),
            "smaller pool": Patch(refinenet, "_pool", lambda x: F.max_pool2d(x, 3, stride=1, padding=1)),
            "activation before the split": Patch(ResidualConvolution, "forward", active_before_the_split),
            "sum before the convolution": Patch(RefinementStage, "forward", summed_before_the_convolution),
        },
    )


# Beyond the golden numbers.


def test_improved_pooling_pools_after_each_convolution() -> None:
    torch.manual_seed(0)
    pooling = ChainedPooling(3, 2, improved=True)
    features = torch.randn(1, 3, 9, 11)
    first = F.max_pool2d(pooling.convolutions[0](features), 5, 1, 2)
    second = F.max_pool2d(pooling.convolutions[1](first), 5, 1, 2)
    torch.testing.assert_close(pooling(features), features + first + second)
    assert all(
        stage.pooling.improved
        for stage in RefineNet((4, 4, 4, 4), 3, 4, improved_pooling=True).stages  # type: ignore[union-attr]
    )


def test_dropout_acts_on_the_two_last_stages_and_before_the_classifier() -> None:
    head = RefineNet((4, 4, 4, 4), 3, 4).train()
    seen: list[tuple[int, ...]] = []
    head.dropout.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[2:])))
    head(*(torch.randn(1, 4, side, side) for side in (17, 9, 5, 3)))
    assert seen == [(5, 5), (3, 3), (17, 17)]
    assert head.dropout.p == 0.5
    assert type(head.dropout) is nn.Dropout, "of single values, not of channels"


def test_initial_values() -> None:
    torch.manual_seed(0)
    head = RefineNet((64, 64, 64, 64), 5, 32)
    for part in head.modules():
        if isinstance(part, nn.Conv2d):
            assert float(part.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
            assert part.bias is None or not part.bias.any()
    usual = RefineNet((64, 64, 64, 64), 5, 32, initial_std=None)
    assert float(usual.classifier.weight.detach().std()) > 0.02


def test_it_trains_on_one_image() -> None:
    head = RefineNet((4, 4, 4, 4), 3, 4).train()
    head(*(torch.randn(1, 4, side, side) for side in (16, 8, 4, 2))).sum().backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize("classes", [19, 150])
def test_parameters_on_resnet101(classes: int) -> None:
    with torch.device("meta"):
        head = RefineNet((256, 512, 1024, 2048), classes)
    coarse = 9 * (2048 * 512 + 14 * 512 * 512 + 512 * 256) + 5 * 512
    others = 9 * ((256 + 512 + 1024) * 256 + 3 * 15 * 256 * 256 + 2 * 256 * 256) + 15 * 256
    assert sum(p.numel() for p in head.parameters()) == coarse + others + (9 * 256 + 1) * classes
