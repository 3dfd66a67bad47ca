"""DFN with the weights of its first author's module gives that module's outputs and gradients."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, leaky, replaced
from golden_case import GoldenCase, GoldenTests, Patch, resampled
from golden_numbers import SAME
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.edges import canny_edges, dilated, focal_loss, neighbour_edges, released_focal_loss
from ocnet_pl.model.head import dfn
from ocnet_pl.model.head.dfn import DFN, ChannelSelection


def outputs(head: DFN, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    logits, extras = head.supervised(*inputs.values())
    smooth = [*(extras[f"smooth{number}"] for number in (1, 2, 3)), logits]
    borders = [extras[f"border{number}"] for number in (1, 2, 3, 4)]
    return {f"smooth{i}": one for i, one in enumerate(smooth)} | {f"border{i}": one for i, one in enumerate(borders)}


def refinement(theirs: str, mine: str) -> dict[str, str]:
    parts = {"conv_1x1": "reduce", "cbr.conv": "residual.0", "cbr.bn": "residual.1", "conv_refine": "residual.3"}
    return {f"{theirs}.{part}": f"{mine}.{own}" for part, own in parts.items()}


NAMES: dict[str, str | None] = {
    "border_aft_rrbs.0": None,
    "global_context.1.conv": "smooth.global_context.reduce.0",
    "global_context.1.bn": "smooth.global_context.reduce.1",
}
for number in range(4):
    NAMES |= refinement(f"smooth_pre_rrbs.{number}", f"smooth.reduce.{number}")
    NAMES |= refinement(f"smooth_aft_rrbs.{number}", f"smooth.refine.{number}")
    NAMES |= refinement(f"smooth_heads.{number}.rrb", f"smooth_classifiers.{number}.0")
    NAMES |= refinement(f"border_pre_rrbs.{number}", f"border.reduce.{number}")
    if number:
        NAMES |= refinement(f"border_aft_rrbs.{number}", f"border.refine.{number - 1}")
    NAMES |= refinement(f"border_heads.{number}.rrb", f"border_classifiers.{number}.0")
    NAMES[f"cabs.{number}.channel_attention.fc"] = f"smooth.select.{number}.gate"
    NAMES[f"smooth_heads.{number}.conv"] = f"smooth_classifiers.{number}.1"
    NAMES[f"border_heads.{number}.conv"] = f"border_classifiers.{number}.1"


def selection(gated: str, order: int) -> Patch:
    def forward(select: ChannelSelection, finer: Tensor, coarser: Tensor) -> Tensor:
        means = torch.cat([finer, coarser][::order], 1).mean((2, 3))
        gate = select.gate(means)[..., None, None]
        return finer * gate + coarser if gated == "finer" else finer + coarser * gate  # type: ignore[no-any-return]

    return Patch(ChannelSelection, "forward", forward)


class TestDFN(GoldenTests):
    case = GoldenCase(
        "dfn",
        lambda: DFN((6, 8, 10, 12), 2, 8, border_channels=4),
        outputs,
        NAMES,
        weight_gradients=6,
        changes={
            "leaky": leaky,
            **{f"selection {i}": exchanged(f"smooth.select.{i}", f"smooth.select.{i + 1}") for i in range(3)},
            **{f"smooth refinement {i}": exchanged(f"smooth.refine.{i}", f"smooth.refine.{i + 1}") for i in range(3)},
            **{f"border refinement {i}": exchanged(f"border.refine.{i}", f"border.refine.{i + 1}") for i in range(2)},
            "smooth classifiers": exchanged("smooth_classifiers.0", "smooth_classifiers.1"),
            "border classifiers": exchanged("border_classifiers.0", "border_classifiers.1"),
            "active residual of a smooth classifier": replaced("smooth_classifiers.3.0.activation", nn.ReLU),
            "active residual of a border classifier": replaced("border_classifiers.3.0.activation", nn.ReLU),
            "gate of the coarser map": selection("coarser", 1),
            "other order of the means": selection("finer", -1),
            "corners not aligned": resampled(dfn, "upsample", "bilinear"),
            "nearest": resampled(dfn, "upsample", "nearest"),
        },
    )

    def test_channel_attention_in_plain_form(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ChannelSelection, "forward", selection("finer", 1).value)
        assert self.case.distance() <= SAME


# Beyond the golden numbers.


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"smooth_weight": 0.5, "border_weight": 0.3},
        {"edges": "neighbours"},
        {"released_focal": True},
    ],
)
def test_the_losses(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    head = DFN((4, 4, 4, 4), 3, 4, border_channels=4, **options).train()
    _, extras = head.supervised(*(torch.randn(2, 4, side, side + 2) for side in (17, 9, 5, 3)))
    label = torch.randint(3, (2, 8, 8)).repeat_interleave(8, 1).repeat_interleave(8, 2).to(torch.uint8)
    label[:, :9] = 255
    terms = head.losses(extras, {"label": label}, CrossEntropy())
    rule = neighbour_edges if options.get("edges") == "neighbours" else canny_edges
    border_loss = released_focal_loss if options.get("released_focal") else focal_loss
    for name, logits in extras.items():
        up = F.interpolate(logits, (64, 64), mode="bilinear", align_corners=True)
        if name.startswith("smooth"):
            expected = options.get("smooth_weight", 1.0) * F.cross_entropy(up, label.long(), ignore_index=255)
        else:
            loss = border_loss(up[:, 0], dilated(rule(label), 7), label != 255)
            expected = options.get("border_weight", 0.1) * loss
        torch.testing.assert_close(terms[name], expected)
    assert terms.keys() == {"smooth1", "smooth2", "smooth3", "border1", "border2", "border3", "border4"}


def test_a_crop_without_labels_gives_every_gradient() -> None:
    head = DFN((4, 4, 4, 4), 3, 4, border_channels=4).train()
    logits, extras = head.supervised(*(torch.randn(2, 4, side, side) for side in (16, 8, 4, 2)))
    label = torch.full((2, 64, 64), 255, dtype=torch.uint8)
    terms = head.losses(extras, {"label": label}, CrossEntropy())
    (torch.stack(list(terms.values())).sum() + 0 * logits.sum()).backward()
    assert all(term.item() == 0 for term in terms.values())
    assert all(p.grad is not None for p in head.parameters()), "another process waits for every gradient"


def test_testing_computes_the_prediction_alone() -> None:
    head = DFN((4, 4, 4, 4), 3, 4, border_channels=4).eval()
    calls: list[str] = []
    for part in (head.border, *head.smooth_classifiers, *head.border_classifiers):
        part.register_forward_hook(lambda *_: calls.append("called"))
    head(*(torch.randn(1, 4, side, side) for side in (17, 9, 5, 3)))
    assert calls == ["called"]


def test_the_rule_for_edges_is_one_of_two() -> None:
    with pytest.raises(ArgumentError, match="edges"):
        DFN((4, 4, 4, 4), 3, 4, edges="sobel")  # type: ignore[arg-type]


def test_initial_values() -> None:
    torch.manual_seed(0)
    weight = DFN((64, 64, 64, 64), 5, 64).smooth.refine[0].residual[0].weight.detach()  # type: ignore[index, union-attr]
    assert float(weight.std()) == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.02)


def residual(channels: int, out: int) -> int:
    return channels * out + 18 * out * out + 2 * out


@pytest.mark.parametrize("classes", [19, 150])
def test_parameters_on_resnet101(classes: int) -> None:
    widths = (256, 512, 1024, 2048)
    with torch.device("meta"):
        head = DFN(widths, classes)
    smooth = 2048 * 512 + 1024 + sum(residual(width, 512) + residual(512, 512) for width in widths)
    selections = 4 * (1024 * 512 + 512 + 512 * 512 + 512)
    border = sum(residual(width, 21) for width in widths) + 3 * residual(21, 21)
    wide = 9 * classes
    classifiers = 4 * (residual(512, wide) + (wide + 1) * classes) + 4 * (residual(21, 9) + 10)
    assert sum(p.numel() for p in head.parameters()) == smooth + selections + border + classifiers
