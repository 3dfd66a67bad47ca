"""The dilated DenseNet is timm's, with its weights: what is dilated, and what stays."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.model.backbone import map_size
from ocnet_pl.model.densenet import create_densenet

SMALL: dict[str, Any] = {"growth_rate": 4, "block_config": (2, 2, 3, 2)}
"""A narrow DenseNet-121."""


def small(**arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    backbone = create_densenet("densenet121", **SMALL, **arguments)
    with torch.no_grad():
        for part in backbone.modules():
            if isinstance(part, nn.BatchNorm2d):  # none at the identity, which would hide a mistake
                part.bias.normal_(0, 0.2)
                part.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
    return backbone.eval()


def timms(backbone: nn.Module, levels: tuple[int, ...]) -> nn.Module:
    """timm's network, with the weights of ours."""
    theirs = timm.create_model("densenet121", features_only=True, out_indices=levels, **SMALL).eval()
    theirs.load_state_dict(backbone.state_dict())
    return theirs


def image(height: int = 64, width: int = 96) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_without_dilation_it_is_timms_network() -> None:
    levels = (-5, -4, -3, -2, -1)
    backbone = small(levels=levels, output_stride=32, halve_last=False)
    for ours, theirs in zip(backbone(image()), timms(backbone, levels)(image()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@torch.no_grad()
def test_dilated_it_is_timms_network_as_far_as_the_first_dropped_pooling() -> None:
    levels = (-3, -2, -1)
    backbone = small(levels=levels, halve_last=False)
    ours, theirs = backbone(image()), timms(backbone, levels)(image())
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=0)
    assert [one.shape[2:] for one in ours] == [(8, 12)] * 3
    assert [one.shape[2:] for one in theirs] == [(8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize(("block", "dilation"), [("3", 2), ("4", 4)])
@torch.no_grad()
def test_a_dilated_block_is_the_plain_block_on_every_nth_position(block: str, dilation: int) -> None:
    dilated, plain = (
        small(output_stride=stride, halve_last=False).get_submodule(f"features_denseblock{block}") for stride in (8, 32)
    )
    features = torch.randn(2, plain.denselayer1.norm1.num_features, 16, 24)  # type: ignore[union-attr]
    every = (..., slice(None, None, dilation), slice(None, None, dilation))
    torch.testing.assert_close(dilated(features)[every], plain(features[every].contiguous()))


@pytest.mark.parametrize(
    ("stride", "dilations", "pooled"),
    [
        (8, [1, 1, 2, 4], [True, False, False]),
        (16, [1, 1, 1, 2], [True, True, False]),
        (32, [1, 1, 1, 1], [True, True, True]),
    ],
)
def test_strides_and_dilations(stride: int, dilations: list[int], pooled: list[bool]) -> None:
    backbone = small(levels=(-3, -2, -1), output_stride=stride)
    for number, dilation in enumerate(dilations, 1):
        convolutions = [layer.conv2 for layer in backbone.get_submodule(f"features_denseblock{number}").children()]
        assert {(conv.dilation, conv.padding) for conv in convolutions} == {((dilation,) * 2, (dilation,) * 2)}
    assert pooled == [
        isinstance(backbone.get_submodule(f"features_transition{number}").pool, nn.AvgPool2d) for number in (1, 2, 3)
    ]
    reduction = backbone.feature_info.reduction()  # type: ignore[operator, union-attr]
    assert reduction == [8, min(16, stride), stride]
    for one, by in zip(backbone(image()), reduction, strict=True):
        assert one.shape[2:] == (64 // by, 96 // by)
    assert map_size(backbone, (64, 96)) == (64 // stride, 96 // stride)


@pytest.mark.parametrize(("name", "channels"), [("densenet121", [1024, 512]), ("densenet161", [2112, 1104])])
def test_channels(name: str, channels: list[int]) -> None:
    with torch.device("meta"):
        timms_info = timm.create_model(name, features_only=True, out_indices=(-2, -1)).feature_info.channels()
    backbone = create_densenet(name)
    assert backbone.feature_info.channels() == channels  # type: ignore[operator, union-attr]
    assert [timms_info[0], timms_info[1] // 2] == channels


@torch.no_grad()
def test_it_ends_in_half_the_channels_and_a_norm_without_relu() -> None:
    whole, halved = small(halve_last=False), small()
    last = whole(image())[-1]
    assert last.min() == 0
    kept = {name: value for name, value in whole.state_dict().items() if not name.startswith("features_norm5")}
    kept |= {
        name.replace("features_norm5", "features_transition4.norm"): value
        for name, value in whole.state_dict().items()
        if name.startswith("features_norm5")
    }
    missing = halved.load_state_dict(kept, strict=False)
    fresh = {
        "transition4.conv.weight",
        *(f"norm5.{name}" for name in ("weight", "bias", "running_mean", "running_var")),
    }
    assert set(missing.missing_keys) == {f"features_{name}" for name in fresh}
    assert not missing.unexpected_keys
    transition, norm = halved.get_submodule("features_transition4"), halved.get_submodule("features_norm5")
    expected = norm(nn.functional.conv2d(last, transition.conv.weight))  # type: ignore[union-attr, arg-type]
    ours = halved(image())[-1]
    torch.testing.assert_close(ours, expected)
    assert ours.min() < 0
    assert ours.shape[1] == last.shape[1] // 2 == halved.feature_info.channels()[-1]  # type: ignore[operator, union-attr]


@pytest.mark.parametrize("halve_last", [False, True])
@torch.no_grad()
def test_a_conversion_to_synchronised_norms_keeps_every_relu(halve_last: bool) -> None:
    backbone = small(halve_last=halve_last)
    expected = backbone(image())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(backbone).eval()
    assert any(isinstance(part, nn.SyncBatchNorm) for part in converted.modules())
    for ours, before in zip(converted(image()), expected, strict=True):
        torch.testing.assert_close(ours, before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_a_local_file(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(5)
    whole = timm.create_model("densenet121", **SMALL)
    with torch.no_grad():
        whole.features.norm5.bias.fill_(0.3)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(whole.state_dict(), path)
    else:
        save_file(whole.state_dict(), path)
    backbone = create_densenet("densenet121", weights=str(path), **SMALL)
    own = backbone.state_dict()
    for name, value in whole.features.state_dict().items():
        ours = "features_" + name.replace("norm5.", "transition4.norm.")
        assert torch.equal(own[ours], value), name
    assert not own["features_norm5.bias"].any()


def test_wrong_arguments_are_explained(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^output_stride=4: expected 8, 16 or 32"):
        create_densenet("densenet121", output_stride=4)
    with pytest.raises(UserError, match=r"^model_name=resnet18: expected a DenseNet"):
        create_densenet("resnet18")
    with pytest.raises(UserError, match=r"^model_name=densnet161: .*densenet161"):
        create_densenet("densnet161")
    with pytest.raises(UserError, match=r"^weights=.*no such file"):
        create_densenet("densenet121", weights=str(tmp_path / "none.pth"))


def step(backbone: nn.Module) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Gradients, and weights with statistics, of a forward and a backward pass in training."""
    backbone.train()
    sum(one.square().mean() for one in backbone(image())).backward()  # type: ignore[union-attr]
    return [parameter.grad for parameter in backbone.parameters()], backbone.state_dict()  # type: ignore[misc]


def test_gradient_checkpointing_changes_no_bit() -> None:
    plain, saving = step(small()), step(small(grad_checkpointing=True))
    torch.testing.assert_close(saving, plain, rtol=0, atol=0)


@torch.no_grad()
def test_denseaspp_on_it() -> None:
    """The authors' network: the head halves nothing, and its ReLU acts on the map of the backbone."""
    config = compose(
        "model/head=denseaspp", "model/backbone=densenet121", "model.backbone.pretrained=false",
        "+model.backbone.growth_rate=4", "+model.backbone.block_config=[2,2,3,2]", "model.auxiliary_channels=4",
        "model.head.hidden_channels=4", "model.head.growth=2",
    )  # fmt: skip
    network = build_network(config, 5).eval()
    assert network(torch.zeros(1, 3, 57, 93)).shape == (1, 5, 57, 93)
    features = network.backbone(network.normalize(image()))[-1]
    assert features.min() < 0
    expected = network.head(features.relu())
    assert (network.head(features) - expected).abs().max() <= 1e-4
