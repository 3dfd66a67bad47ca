"""Attention and SS-NAN: attention to image scales, golden numbers (SS-NAN) and a plain statement (Attention)."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from changes import Change, rolled_inputs, shifted, weights_of, without
from golden_case import GoldenCase, GoldenTests, Patch
from golden_numbers import SAME, SEEN, relative_difference
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.backbone import create_backbone
from ocnet_pl.model.contract import Supervised
from ocnet_pl.model.head import ss_nan
from ocnet_pl.model.head.attention import Attention
from ocnet_pl.model.head.ss_nan import SSNAN
from ocnet_pl.model.layers import rescaled, upsample
from ocnet_pl.model.network import Network
from ocnet_pl.model.scale_attention import attend_scales


def outputs(head: SSNAN, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    maps = list(inputs.values())
    return {"attention": head.attention(maps), "logits": head(*maps)}


def other_weights(weights: Callable[[Tensor], Tensor]) -> Change:
    def change(head: nn.Module) -> None:
        attention = head.attention
        attention.forward = lambda maps: weights(attention.scores(torch.cat(maps, 1)))  # type: ignore[assignment, operator, union-attr]

    return change


def fused(fuse: Callable[..., Tensor]) -> Patch:
    return Patch(ss_nan, "attend_scales", fuse)


class TestSSNAN(GoldenTests):
    case = GoldenCase(
        "ssnan",
        lambda: SSNAN(6, 4, attention_channels=5, dropout=0.0),
        outputs,
        {
            "mask_att_conv": "attention.scores.0",
            "mask_att_prob": "attention.scores.3",
            "mask_denseclass_conv": "classifier",
        },
        weight_gradients=2,
        changes={
            "inputs of the attention": rolled_inputs("attention.scores.0.weight", 6),
            "sigmoid": other_weights(torch.sigmoid),
            "softmax over positions": other_weights(lambda scores: scores.softmax(-1)),
            "plain sum": fused(lambda weights, maps: sum(maps)),
            "scales in another order": fused(lambda weights, maps: attend_scales(weights.flip(1), maps)),
            "mean in place of a sum": fused(lambda weights, maps: attend_scales(weights, maps) / 3),
        },
    )


# Beyond the golden numbers.


def attention_head() -> Attention:
    torch.manual_seed(0)
    head = Attention(4, 3, out_channels=6, attention_channels=5, dilation=2).eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.4)
    return head


def attention_maps() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 4, *size, generator=generator) for size in ((9, 13), (7, 10), (5, 7))]


def plain_attention(w: dict[str, Tensor], maps: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Attention in functional calls only: the sum of scores, and each scale's scores at the size of its own map."""

    def conv(x: Tensor, name: str, **options: int) -> Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **options)

    def up(x: Tensor) -> Tensor:
        return F.interpolate(x, (9, 13), mode="bilinear", align_corners=True)

    features = [conv(conv(x, "large_view.0", padding=2, dilation=2).relu(), "large_view.3").relu() for x in maps]
    scores = [conv(x, "classifier") for x in features]
    hidden = conv(torch.cat([up(x) for x in features], 1), "attention.scores.0", padding=1).relu()
    weights = conv(hidden, "attention.scores.3").exp()
    weights = weights / weights.sum(1, keepdim=True)
    return torch.stack([weights[:, i : i + 1] * up(score) for i, score in enumerate(scores)]).sum(0), scores


def distance_to_plain(head: Attention, maps: list[Tensor]) -> float:
    plain = plain_attention(dict(attention_head().named_parameters()), attention_maps())[0]
    with torch.no_grad():
        return relative_difference(head(*maps), plain)


def test_attention_is_its_plain_statement() -> None:
    head, maps = attention_head(), attention_maps()
    assert distance_to_plain(head, maps) <= SAME
    fused, extras = head.supervised(*maps)
    torch.testing.assert_close(fused, head(*maps))
    _, scores = plain_attention(dict(head.named_parameters()), maps)
    assert list(extras) == ["scale100", "scale75", "scale50"]
    for mine, theirs in zip(extras.values(), scores, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", weights_of(attention_head()))
def test_every_weight_of_attention_would_be_seen(name: str) -> None:
    head = attention_head()
    shifted(name)(head)
    assert distance_to_plain(head, attention_maps()) > SEEN


@pytest.mark.parametrize("layer", ["large_view.1", "large_view.4", "attention.scores.1"])
def test_a_missing_activation_of_attention_would_be_seen(layer: str) -> None:
    head = attention_head()
    without(layer)(head)
    assert distance_to_plain(head, attention_maps()) > SEEN


def test_the_order_of_scales_would_be_seen() -> None:
    maps = attention_maps()
    assert distance_to_plain(attention_head(), [maps[0], upsample(maps[2], (7, 10)), upsample(maps[1], (5, 7))]) > SEEN


@pytest.mark.parametrize("of", [Attention, SSNAN])
def test_the_losses_of_the_scales(of: type[Attention] | type[SSNAN]) -> None:
    torch.manual_seed(0)
    head = of(4, 3, image_scales=(1, 0.5), scale_weight=0.25).train()
    maps = [torch.randn(2, 4, *size) for size in ((5, 7), (3, 4))]
    fused, extras = head.supervised(*maps)
    label = torch.randint(3, (2, 33, 49), dtype=torch.uint8)
    label[:, :9] = 255
    terms = head.losses(extras, {"label": label}, CrossEntropy())
    assert terms.keys() == extras.keys() == {"scale100", "scale50"}
    for name, logits in extras.items():
        up = F.interpolate(logits, (33, 49), mode="bilinear", align_corners=True)
        torch.testing.assert_close(terms[name], 0.25 * F.cross_entropy(up, label.long(), ignore_index=255))
    ignored = head.losses(extras, {"label": torch.full_like(label, 255)}, CrossEntropy())
    (torch.stack(list(ignored.values())).sum() + 0 * fused.sum()).backward()
    assert all(term.item() == 0 for term in ignored.values())
    assert all(p.grad is not None for p in head.parameters()), "another process waits for every gradient"


def test_one_classifier_reads_the_sum_and_each_scale_of_ss_nan() -> None:
    head = SSNAN(4, 3, dropout=0.0)
    maps = [torch.randn(1, 4, *size) for size in ((3, 4), (4, 6), (5, 7))]
    _, extras = head.supervised(*maps)
    for features, logits in zip(maps, extras.values(), strict=True):
        torch.testing.assert_close(logits, head.classifier(upsample(features, (5, 7))))


@pytest.mark.parametrize(("head", "parameters"), [("attention", 34102294), ("ss_nan", 28676118)])
def test_parameters(head: str, parameters: int) -> None:
    config = compose(f"model/head={head}", "model/backbone=resnet101", "model.backbone.pretrained=false")
    network = build_network(config, 19, auxiliary=False)
    assert sum(p.numel() for p in network.head.parameters()) == parameters
    assert isinstance(network.head, Supervised)


# The network at several scales.


class Reading(nn.Module):
    """Head that keeps what it received."""

    levels = (-2, -1)
    out_channels = 3

    def __init__(self, *image_scales: float) -> None:
        super().__init__()
        self.image_scales = image_scales
        self.seen: list[tuple[Tensor, ...]] = []

    def forward(self, *maps: Tensor) -> Tensor:
        self.seen.append(maps)
        return maps[0][:, :3]


def test_a_head_receives_the_maps_of_every_scale() -> None:
    network = Network(create_backbone("test_resnet"), Reading(0.5, 1, 0.75), 4, auxiliary_channels=8).eval()
    head, image = network.head, torch.randint(256, (2, 3, 65, 97), dtype=torch.uint8)
    assert isinstance(head, Reading)
    normalized = network.normalize(image)
    with torch.no_grad():
        network(image)
        outputs = network.supervised(image)
        expected = [
            features
            for size in ((33, 49), (65, 97), (49, 73))
            for features in network.backbone(F.interpolate(normalized, size, mode="bilinear", align_corners=True))
        ]
        assert network.auxiliary is not None
        torch.testing.assert_close(outputs.auxiliary, upsample(network.auxiliary(expected[2]), (65, 97)))
    assert len(head.seen) == 2
    for seen in head.seen:
        assert len(seen) == 6
        for mine, theirs in zip(seen, expected, strict=True):
            torch.testing.assert_close(mine, theirs)
    assert rescaled(torch.zeros(1, 3, 769, 473), 0.75).shape[2:] == (577, 355)


@pytest.mark.parametrize("scales", [(0.5, 0.75), (1, 1), (1, -1), (1, 0)])
def test_impossible_scales_are_refused(scales: tuple[float, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"^head.image_scales=\[.*expected different factors"):
        Network(create_backbone("test_resnet"), Reading(*scales), 4)


def test_gradient_checkpointing_counts_the_statistics_of_every_scale_once() -> None:
    """A norm sees each scale: three updates a step, with and without recomputation."""
    found = []
    for checkpointing in ("false", "true"):
        torch.manual_seed(0)
        option = f"model.backbone.grad_checkpointing={checkpointing}"
        network = build_network(compose("model/head=ss_nan", "model/backbone=tiny", option), 5).train()
        torch.manual_seed(1)
        image = torch.randint(256, (2, 3, 65, 97), dtype=torch.uint8)
        network.supervised(image).logits.square().mean().backward()
        found.append((dict(network.state_dict()), {name: p.grad for name, p in network.named_parameters()}))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=0)
    assert {int(t) for name, t in found[0][0].items() if name.endswith("batches_tracked") and "backbone" in name} == {3}
    for name, gradient in found[0][1].items():
        if gradient is not None:
            torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-5, atol=1e-7)
