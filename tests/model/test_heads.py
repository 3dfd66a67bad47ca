"""Every head against a plain statement of the paper's section 3, written with functional calls only."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from head_configs import CLASSES, head, maps, named_inputs
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose, heads
from ocnet_pl.model.contract import Supervised, ends_in_logits

Weights = dict[str, Tensor]


def _conv_norm_act(x: Tensor, w: Weights, name: str, dilation: int = 1) -> Tensor:
    kernel = w[f"{name}.0.weight"]
    x = F.conv2d(x, kernel, w.get(f"{name}.0.bias"), padding=dilation * (kernel.shape[-1] // 2), dilation=dilation)
    mean, var = w[f"{name}.1.running_mean"], w[f"{name}.1.running_var"]
    x = F.batch_norm(x, mean, var, w[f"{name}.1.weight"], w[f"{name}.1.bias"])
    return torch.where(x > 0, x, 0.01 * x)


def _up(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)


def _pooled(x: Tensor, w: Weights, name: str, grid: int = 1) -> Tensor:
    return _up(_conv_norm_act(F.adaptive_avg_pool2d(x, grid), w, f"{name}.reduce"), x)


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Equations 1 and 2, with the scaling of self-attention."""
    similarity = torch.einsum("bdij,bdkl->bijkl", q, k) / q.shape[1] ** 0.5
    weights = similarity.flatten(3).softmax(-1)
    return torch.einsum("bijn,bcn->bcij", weights, v.flatten(2))


def _ocp(x: Tensor, w: Weights, name: str, grid: int = 1, downsample: int = 1) -> Tensor:
    small = F.max_pool2d(x, downsample) if downsample > 1 else x
    k = _conv_norm_act(small, w, f"{name}.key")
    v = F.conv2d(small, w[f"{name}.value.weight"], w[f"{name}.value.bias"])
    context = torch.empty_like(v)
    for rows in torch.arange(v.shape[2]).chunk(grid):
        for columns in torch.arange(v.shape[3]).chunk(grid):
            where = (slice(None), slice(None), rows[:, None], columns)
            context[where] = _attend(k[where], k[where], v[where])
    return _up(F.conv2d(context, w[f"{name}.project.weight"], w[f"{name}.project.bias"]), x)


def _baseline(x: Tensor, w: Weights) -> Tensor:
    return _conv_norm_act(x, w, "reduce")


def _gp(x: Tensor, w: Weights) -> Tensor:
    reduced = _conv_norm_act(x, w, "reduce")
    return _conv_norm_act(torch.cat([_pooled(reduced, w, "pool"), reduced], 1), w, "fuse")


def _ppm(x: Tensor, w: Weights) -> Tensor:
    pooled = [_pooled(x, w, f"pools.{i}", grid) for i, grid in enumerate((1, 2, 3, 6))]
    return _conv_norm_act(torch.cat([x, *pooled], 1), w, "fuse")


def _aspp(x: Tensor, w: Weights, prefix: str = "", context: Tensor | None = None) -> Tensor:
    first = _pooled(x, w, f"{prefix}context") if context is None else context
    branches = [first, _conv_norm_act(x, w, f"{prefix}point")]
    branches += [_conv_norm_act(x, w, f"{prefix}dilated.{i}", rate) for i, rate in enumerate((12, 24, 36))]
    return _conv_norm_act(torch.cat(branches, 1), w, f"{prefix}fuse")


def _base_oc(x: Tensor, w: Weights) -> Tensor:
    reduced = _conv_norm_act(x, w, "reduce")
    return _conv_norm_act(torch.cat([_ocp(reduced, w, "pool"), reduced], 1), w, "fuse")


def _pyramid_oc(x: Tensor, w: Weights) -> Tensor:
    reduced = _conv_norm_act(x, w, "reduce")
    contexts = [_ocp(reduced, w, f"pools.{i}", grid) for i, grid in enumerate((1, 2, 3, 6))]
    return _conv_norm_act(torch.cat([_conv_norm_act(reduced, w, "identity"), *contexts], 1), w, "fuse")


def _asp_oc(x: Tensor, w: Weights) -> Tensor:
    if "reduce.0.weight" in w:
        x = _conv_norm_act(x, w, "reduce")
    context = _ocp(_conv_norm_act(x, w, "pyramid.context.0"), w, "pyramid.context.1", downsample=2)
    context = _conv_norm_act(context, w, "pyramid.context.2")
    return _aspp(x, w, "pyramid.", context)


REFERENCES: dict[str, Callable[[Tensor, Weights], Tensor]] = {
    "baseline": _baseline,
    "gp": _gp,
    "ppm": _ppm,
    "aspp": _aspp,
    "base_oc": _base_oc,
    "pyramid_oc": _pyramid_oc,
    "asp_oc": _asp_oc,
    "asp_oc_2019": _asp_oc,
}


def randomize(module: nn.Module) -> None:
    """No parameter at a value that hides a mistake: W of the attention starts at zero, norms at identity."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point():
            fan_in = tensor[0].numel() if tensor.ndim > 1 else 4
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)


@pytest.mark.parametrize("name", REFERENCES)
def test_head_is_what_the_paper_says(name: str) -> None:
    built = head(name, 24, out_channels=16).eval()
    randomize(built)
    (features,) = maps(built, (12, 18), 24)
    with torch.no_grad():
        torch.testing.assert_close(
            built(features), REFERENCES[name](features, built.state_dict()), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("name", REFERENCES)
def test_head_at_the_papers_width(name: str) -> None:
    built = head(name, 2048)
    assert built.out_channels == 512
    widths = {m.out_channels for m in built.modules() if isinstance(m, nn.Conv2d)}
    if name != "asp_oc_2019":
        assert widths <= {256, 512, 2048}


@pytest.mark.parametrize("name", heads())
@pytest.mark.parametrize("in_channels", [7, 33])
def test_head_keeps_the_contract(name: str, in_channels: int) -> None:
    """Any number of channels, and the width that it announces."""
    built = head(name, in_channels).eval()
    inputs = maps(built, (9, 13), in_channels)
    named = named_inputs(built, (9, 13))
    width = 5 if ends_in_logits(built) else built.out_channels
    with torch.no_grad():
        assert built(*inputs, **named).shape[:2] == (2, width)


@pytest.mark.parametrize("name", [name for name, of in CLASSES.items() if hasattr(of, "supervised")])
def test_supervised_gives_the_map_of_forward(name: str) -> None:
    built = head(name).eval()
    assert isinstance(built, Supervised)
    inputs, named = maps(built, (9, 13)), named_inputs(built, (9, 13))
    with torch.no_grad():
        features, extras = built.supervised(*inputs, **named)
        torch.testing.assert_close(features, built(*inputs, **named))
    assert extras


@pytest.mark.parametrize("name", heads())
def test_every_head_has_a_label(name: str) -> None:
    assert compose(f"model/head={name}").model.head.label


@pytest.mark.parametrize(
    ("head", "levels", "stride", "auxiliary"), [("upernet", 4, 32, False), ("danet", 1, 8, False), ("ppm", 2, 8, True)]
)
def test_the_network_around_a_head(head: str, levels: int, stride: int, auxiliary: bool) -> None:
    config = compose(f"model/head={head}", "model/backbone=tiny", "model.head.out_channels=8")
    network = build_network(config, 5, auxiliary=bool(config.loss.auxiliary_weight)).eval()
    assert (network.auxiliary is not None) is auxiliary
    assert len(network.backbone(network.normalize(torch.zeros(1, 3, 64, 96)))) == levels
    assert network.backbone.feature_info.reduction()[-1] == stride  # type: ignore[operator, union-attr]
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 64, 96)


def test_the_weight_of_the_auxiliary_loss_can_be_set_for_every_head() -> None:
    assert compose("model/head=danet").loss.auxiliary_weight == 0
    assert compose("model/head=danet", "loss.auxiliary_weight=0.2").loss.auxiliary_weight == 0.2
    assert compose("model/head=ppm", "loss=ohem").loss.auxiliary_weight == 0.4
