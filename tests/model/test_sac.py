"""Scale-adaptive convolution against golden numbers, and in the backbone."""

from collections.abc import Callable

import pytest
import torch
from golden_numbers import SEEN, assert_gradient, assert_same, golden_file, relative_difference
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.model import scale_adaptive
from ocnet_pl.model.scale_adaptive import ScaleAdaptiveConv2d, scale_adaptive_conv
from ocnet_pl.tools.cost.measuring import multiply_adds


@pytest.mark.parametrize("rate", [1, 2])
def test_output_and_all_gradients(rate: int) -> None:
    golden = golden_file("sac")
    inputs = {name: golden[name].requires_grad_() for name in ("x", "scale", "weight")}
    output = scale_adaptive_conv(*inputs.values(), dilation=rate)
    assert_same(output, golden[f"rate{rate}/y"])
    (output * golden[f"rate{rate}/grad_seed"]).sum().backward()
    for name, tensor in inputs.items():
        assert_gradient(tensor.grad, golden[f"rate{rate}/grad_{name}"])


def by_loops(x: Tensor, scale: Tensor, weight: Tensor, dilation: int) -> Tensor:
    """The definition, position by position, on one image."""
    _, _, height, width = x.shape
    output = torch.zeros(1, weight.shape[0], height, width)
    for row in range(height):
        for column in range(width):
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    step = scale[0, 0, row, column] * dilation
                    y, at = row + step * i, column + step * j
                    for near_y in (y.floor(), y.floor() + 1):
                        for near_x in (at.floor(), at.floor() + 1):
                            if 0 <= near_y < height and 0 <= near_x < width:
                                share = (1 - (y - near_y).abs()) * (1 - (at - near_x).abs())
                                value = x[0, :, int(near_y), int(near_x)]
                                output[0, :, row, column] += share * (weight[:, :, i + 1, j + 1] @ value)
    return output


@pytest.mark.parametrize("rate", [1, 2])
def test_the_golden_numbers_are_the_definition(rate: int) -> None:
    golden = golden_file("sac")
    output = by_loops(golden["x"], golden["scale"], golden["weight"], rate)
    assert_same(output, golden[f"rate{rate}/y"])


Changed = Callable[[dict[str, Tensor]], Tensor]

CHANGES: dict[str, Changed] = {
    "dilation": lambda g: scale_adaptive_conv(g["x"], g["scale"], g["weight"], dilation=3),
    "no scale": lambda g: scale_adaptive_conv(g["x"], torch.ones_like(g["scale"]), g["weight"], dilation=2),
    "scale": lambda g: scale_adaptive_conv(g["x"], 1.001 * g["scale"], g["weight"], dilation=2),
    "sign": lambda g: scale_adaptive_conv(g["x"], 2 - g["scale"], g["weight"], dilation=2),
    "factor from 0": lambda g: scale_adaptive_conv(g["x"], g["scale"] + 1, g["weight"], dilation=2),
    "rows and columns": lambda g: scale_adaptive_conv(g["x"], g["scale"], g["weight"].mT, dilation=2),
    "place": lambda g: scale_adaptive_conv(g["x"], g["scale"].roll(1, -1), g["weight"], dilation=2),
    "bias": lambda g: scale_adaptive_conv(g["x"], g["scale"], g["weight"], torch.full((5,), 0.01), dilation=2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_any_change_would_be_seen(name: str) -> None:
    golden = golden_file("sac")
    assert relative_difference(CHANGES[name](golden), golden["rate2/y"]) > SEEN


def test_offsets_of_columns_first_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = scale_adaptive.deform_conv2d

    def exchanged(features: Tensor, offsets: Tensor, *others: object, **named: object) -> Tensor:
        return usual(features, offsets.unflatten(1, (9, 2)).flip(2).flatten(1, 2), *others, **named)

    monkeypatch.setattr(scale_adaptive, "deform_conv2d", exchanged)
    golden = golden_file("sac")
    output = scale_adaptive_conv(golden["x"], golden["scale"], golden["weight"], dilation=2)
    assert relative_difference(output, golden["rate2/y"]) > SEEN


# In the backbone.


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 4])
def test_it_starts_as_the_convolution_that_it_replaces(dilation: int, stride: int) -> None:
    conv = nn.Conv2d(4, 6, 3, padding=dilation, dilation=dilation, stride=stride, bias=dilation == 4)
    replacement = ScaleAdaptiveConv2d(conv)
    features = torch.randn(2, 4, 11, 13)
    torch.testing.assert_close(replacement(features), conv(features), rtol=1e-5, atol=1e-6)
    assert replacement.weight is conv.weight
    assert set(replacement.state_dict()) == set(conv.state_dict()) | {"scale.weight", "scale.bias"}


def test_the_factor_has_a_smallest_value_and_learns() -> None:
    layer = ScaleAdaptiveConv2d(nn.Conv2d(4, 6, 3, padding=2, dilation=2), min_scale=0.5)
    features = torch.randn(1, 4, 9, 9)
    layer(features).square().sum().backward()
    for parameter in layer.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
    with torch.no_grad():
        layer.scale.bias.fill_(-3.0)
        low = layer(features)
        layer.scale.bias.fill_(0.5)
        torch.testing.assert_close(low, layer(features))


def test_it_runs_in_float32_under_autocast() -> None:
    layer = ScaleAdaptiveConv2d(nn.Conv2d(4, 6, 3, padding=2, dilation=2))
    nn.init.normal_(layer.scale.weight, std=0.1)
    features = torch.randn(1, 4, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(features), layer(features.clone()))
        assert layer(features).dtype == torch.float32
        half = layer(features.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), layer(features.bfloat16().float()), rtol=1e-2, atol=1e-2)


def adaptive(network: nn.Module) -> list[str]:
    return [name for name, part in network.named_modules() if isinstance(part, ScaleAdaptiveConv2d)]


def test_the_head_alone_chooses_the_convolutions() -> None:
    network = build_network(compose("model/head=sac", "model.backbone.pretrained=false"), 5, auxiliary=False)
    assert adaptive(network) == [f"backbone.layer4.{block}.conv2" for block in range(3)]
    layers = [network.get_submodule(name) for name in adaptive(network)]
    assert [layer.dilation for layer in layers] == [(4, 4)] * 3
    assert sum(p.numel() for layer in layers for p in layer.scale.parameters()) == 13_827  # type: ignore[union-attr]
    assert not adaptive(build_network(compose("model/head=baseline", "model.backbone.pretrained=false"), 5))


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UserError, match=r"model.backbone.scale_adaptive=\[layer7\]: test_resnet has no stage layer7"):
        build_network(compose("model/backbone=tiny", "model.backbone.scale_adaptive=[layer7]"), 5)


def test_its_products_are_counted() -> None:
    built = [
        build_network(compose(f"model/head={head}", "model/backbone=tiny"), 5, auxiliary=False)
        for head in ("sac", "baseline")
    ]
    image = torch.zeros(1, 3, 64, 64)
    ours, plain = (multiply_adds(network, image) for network in built)
    positions = network_positions(built[0], image)
    regressions = sum(layer.in_channels * 9 * positions for layer in map(built[0].get_submodule, adaptive(built[0])))  # type: ignore[operator, union-attr]
    assert ours == plain + regressions


def network_positions(network: nn.Module, image: Tensor) -> int:
    return int(network.backbone(network.normalize(image))[-1][0, 0].numel())  # type: ignore[operator]
