"""DUC-HDC: dense upsampling convolution against golden numbers, and the dilations of its backbone."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from changes import Change, set_to, shifted, weights_of
from golden_case import GoldenCase, returning
from golden_numbers import SEEN, assert_gradient, assert_same, relative_difference
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.head.duc import DUC

RATES = (6, 12, 18, 24)
NAMES = {f"rate{rate}": f"dilated.{index}" for index, rate in enumerate(RATES)}


def golden_head(**arguments: Any) -> tuple[DUC, dict[str, Tensor]]:
    case = GoldenCase("duc", lambda: DUC(8, 3, factor=2, **{"cut": False} | arguments), returning("logits"), NAMES)
    head, golden, _ = case.load()
    assert isinstance(head, DUC)
    return head, golden


@pytest.mark.parametrize("training", [False, True])
def test_output_loss_and_gradient(training: bool) -> None:
    head, golden = golden_head()
    features = golden["x"].requires_grad_()
    logits = head.train(training)(features)
    assert_same(logits, golden["y"])
    loss = CrossEntropy()(logits, golden["label"].long())
    torch.testing.assert_close(loss, golden["loss"][0], rtol=1e-5, atol=0)
    loss.backward()
    assert_gradient(features.grad, golden["grad_x"])
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


def test_folded_labels_give_the_same_loss() -> None:
    """The authors' loader folds labels in place of rearranging logits."""
    head, golden = golden_head()
    label = golden["label"].long()
    raw = torch.stack([conv(golden["x"]) for conv in head.dilated]).sum(0)
    folded = (
        label.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 2, 4, 1, 3).flatten(1, 2)
    )  # (B, a * 2 + b, h, w)
    loss = F.cross_entropy(raw.unflatten(1, (3, 4)), folded, ignore_index=255)
    torch.testing.assert_close(loss, golden["loss"][0], rtol=1e-5, atol=0)


def dilated(head: nn.Module) -> None:
    head.dilated[0].dilation = head.dilated[0].padding = (5, 5)  # type: ignore[index, union-attr]


def without_one(head: nn.Module) -> None:
    head.dilated = head.dilated[:3]  # type: ignore[index]


def rearranged(head: nn.Module) -> None:
    """Positions of a square by columns."""
    for conv in head.dilated:  # type: ignore[union-attr]
        for parameter in conv.parameters():
            parameter.data = parameter.data.unflatten(0, (3, 2, 2)).transpose(1, 2).flatten(0, 2)


def classes_last(head: nn.Module) -> None:
    for conv in head.dilated:  # type: ignore[union-attr]
        for parameter in conv.parameters():
            parameter.data = parameter.data.unflatten(0, (3, 4)).transpose(0, 1).flatten(0, 1)


def of_another_branch(head: nn.Module) -> None:
    first, second, *_ = head.dilated  # type: ignore[misc]
    first.weight, second.weight = second.weight, first.weight


def active(head: nn.Module) -> None:
    head.dilated[3] = nn.Sequential(head.dilated[3], nn.ReLU())  # type: ignore[index, operator]


CHANGES: dict[str, Change] = {
    **{name: shifted(name) for name in weights_of(DUC(8, 3, factor=2))},
    "dilation": dilated, "branch": without_one, "square": rearranged, "classes": classes_last, "activation": active,
    "weights of another branch": of_another_branch, "cut": set_to("cut", True),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_any_change_would_be_seen(name: str) -> None:
    head, golden = golden_head()
    CHANGES[name](head)
    with torch.no_grad():
        logits = head(golden["x"])
    if logits.shape == golden["y"].shape:
        assert relative_difference(logits, golden["y"]) > SEEN
    else:
        assert name == "cut"


# Beyond the golden numbers.


def test_the_corners_of_map_and_logits_are_the_same() -> None:
    whole, golden = golden_head()
    cut, _ = golden_head(cut=True)
    with torch.no_grad():
        expected, logits = whole(golden["x"]), cut(golden["x"])
    assert logits.shape == (2, 3, 53, 61)
    assert torch.equal(logits, expected[..., :-1, :-1])
    head = DUC(4, 2)
    assert head(torch.randn(1, 4, 97, 129)).shape == (1, 2, 385, 513)  # of a crop of 769x1025
    assert DUC(4, 2, factor=8)(torch.randn(1, 4, 97, 9)).shape == (1, 2, 769, 65)
    assert head(torch.randn(1, 4, 1, 1)).shape == (1, 2, 1, 1)


def test_parameters_are_those_of_the_sheet() -> None:
    counts = [
        sum(parameter.numel() for parameter in DUC(2048, 19, factor=factor).parameters()) / 1e6 for factor in (4, 8)
    ]
    assert [round(count, 1) for count in counts] == [22.4, 89.7]


def test_initial_values() -> None:
    head = DUC(64, 5)
    for conv in head.dilated:
        bound = (2.34 / (64 * 9)) ** 0.5
        assert 0.95 * bound < conv.weight.abs().max() <= bound  # type: ignore[union-attr, operator]
        assert not conv.bias.any()  # type: ignore[union-attr, operator]


def dilations(network: nn.Module, stage: str) -> list[int]:
    return [
        conv.dilation[0]
        for conv in network.get_submodule(f"backbone.{stage}").modules()
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)
    ]


def test_the_head_alone_chooses_the_dilations() -> None:
    config = compose("model/head=duc", "model.backbone.pretrained=false", "model/backbone=resnet101s")
    network = build_network(config, 5, auxiliary=False)
    assert dilations(network, "layer3") == [2, 2, 5, 9, *(1, 2, 5, 9) * 4, 1, 2, 5]
    assert dilations(network, "layer4") == [5, 9, 17]
    assert set(dilations(network, "layer1") + dilations(network, "layer2")) == {1}
    assert network.backbone(network.normalize(torch.zeros(1, 3, 65, 97)))[-1].shape[2:] == (9, 13)


@pytest.mark.parametrize(
    ("overrides", "layer3", "layer4"),
    [
        (["model/backbone=resnet18"], [2, 2, 2, 2], [5, 5, 9, 9]),  # two convolutions a block
        (["model/backbone=resnet18", "model.backbone.block_dilations={layer4:[3]}"], [2] * 4, [3] * 4),
        (["model/backbone=resnet18", "model.backbone.block_dilations=null"], [2] * 4, [4] * 4),
    ],
)
def test_dilations_on_another_backbone(overrides: list[str], layer3: list[int], layer4: list[int]) -> None:
    network = build_network(compose("model/head=duc", "model.backbone.pretrained=false", *overrides), 5)
    assert (dilations(network, "layer3"), dilations(network, "layer4")) == (layer3, layer4)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("model/backbone=convnext_tiny", "block_dilations.layer3: convnext_tiny has no stage layer3"),
        ("model.backbone.block_dilations={maxpool:[2]}", "has no stage maxpool"),
        ("model.backbone.block_dilations={layer4:[]}", r"block_dilations.layer4=\[\]: expected at least one"),
    ],
)
def test_impossible_dilations_are_refused(override: str, words: str) -> None:
    backbone = ["model/backbone=tiny"] if "backbone=" not in override else ["model.backbone.pretrained=false"]
    with pytest.raises(UserError, match=words):
        build_network(compose("model/head=duc", *backbone, override), 5)


def test_the_network_ends_in_the_heads_logits() -> None:
    network = build_network(compose("model/head=duc", "model/backbone=tiny"), 5, auxiliary=False).train()
    outputs = network.supervised(torch.zeros(2, 3, 65, 97, dtype=torch.uint8))
    assert outputs.map_logits.shape == (2, 5, 33, 49)
    assert outputs.logits.shape == (2, 5, 65, 97)
    torch.testing.assert_close(outputs.logits[..., ::2, ::2], outputs.map_logits)
