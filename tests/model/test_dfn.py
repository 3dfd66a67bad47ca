"""DFN with the weights of its first author's module gives that module's outputs and gradients."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from golden_stages import Change, Golden, without
from golden_systems import SEEN, exchanged, leaky, shifted
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.edges import canny_edges, dilated, focal_loss, neighbour_edges, released_focal_loss
from ocnet_pl.model.head import dfn
from ocnet_pl.model.head.dfn import DFN, ChannelSelection


class System(nn.Module):
    """The head alone, which ends in logits."""

    def __init__(self) -> None:
        super().__init__()
        self.head = DFN((6, 8, 10, 12), 2, 8, border_channels=4)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        logits, extras = self.head.supervised(*(inputs[f"layer{number}"] for number in (1, 2, 3, 4)))
        smooth = [*(extras[f"smooth{number}"] for number in (1, 2, 3)), logits]
        borders = [extras[f"border{number}"] for number in (1, 2, 3, 4)]
        return {f"smooth{i}": one for i, one in enumerate(smooth)} | {
            f"border{i}": one for i, one in enumerate(borders)
        }


def refinement(theirs: str, mine: str) -> dict[str, str]:
    parts = {"conv_1x1": "reduce", "cbr.conv": "residual.0", "cbr.bn": "residual.1", "conv_refine": "residual.3"}
    return {f"{theirs}.{part}": f"head.{mine}.{own}" for part, own in parts.items()}


NAMES = {
    "global_context.1.conv": "head.smooth.global_context.reduce.0",
    "global_context.1.bn": "head.smooth.global_context.reduce.1",
}
for number in range(4):
    NAMES |= refinement(f"smooth_pre_rrbs.{number}", f"smooth.reduce.{number}")
    NAMES |= refinement(f"smooth_aft_rrbs.{number}", f"smooth.refine.{number}")
    NAMES |= refinement(f"smooth_heads.{number}.rrb", f"smooth_classifiers.{number}.0")
    NAMES |= refinement(f"border_pre_rrbs.{number}", f"border.reduce.{number}")
    NAMES |= refinement(f"border_aft_rrbs.{number}", f"border.refine.{number - 1}")
    NAMES |= refinement(f"border_heads.{number}.rrb", f"border_classifiers.{number}.0")
    NAMES[f"cabs.{number}.channel_attention.fc"] = f"head.smooth.select.{number}.gate"
    NAMES[f"smooth_heads.{number}.conv"] = f"head.smooth_classifiers.{number}.1"
    NAMES[f"border_heads.{number}.conv"] = f"head.border_classifiers.{number}.1"
GOLDEN = Golden("dfn", System, NAMES, unused=("border_aft_rrbs.0.",))


@pytest.mark.parametrize("training", [False, True])
def test_outputs(training: bool) -> None:
    assert GOLDEN.distance(training=training) <= 1e-5


def test_all_gradients() -> None:
    GOLDEN.assert_gradients()


@pytest.mark.parametrize("name", GOLDEN.elements())
def test_a_missing_norm_activation_or_gate_would_be_seen(name: str) -> None:
    assert GOLDEN.distance(change=without(name)) > SEEN


@pytest.mark.parametrize("name", GOLDEN.parameters())
def test_every_weight_would_be_seen(name: str) -> None:
    assert GOLDEN.distance(change=shifted(name)) > SEEN


@pytest.mark.parametrize(
    "change",
    [
        leaky,
        *(exchanged(f"head.smooth.select.{one}", f"head.smooth.select.{one + 1}") for one in range(3)),
        *(exchanged(f"head.smooth.refine.{one}", f"head.smooth.refine.{one + 1}") for one in range(3)),
        *(exchanged(f"head.border.refine.{one}", f"head.border.refine.{one + 1}") for one in range(2)),
        exchanged("head.smooth_classifiers.0", "head.smooth_classifiers.1"),
        exchanged("head.border_classifiers.0", "head.border_classifiers.1"),
    ],
)
def test_any_change_would_be_seen(change: Change) -> None:
    assert GOLDEN.distance(change=change) > SEEN


def selection(gated: str, order: int) -> Any:
    def forward(select: ChannelSelection, finer: Tensor, coarser: Tensor) -> Tensor:
        means = torch.cat([finer, coarser][::order], 1).mean((2, 3))
        gate = select.gate(means)[..., None, None]
        return finer * gate + coarser if gated == "finer" else finer + coarser * gate  # type: ignore[no-any-return]

    return forward


@pytest.mark.parametrize(("gated", "order"), [("coarser", 1), ("finer", -1)])
def test_another_channel_attention_would_be_seen(gated: str, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChannelSelection, "forward", selection("finer", 1))
    assert GOLDEN.distance() <= 1e-5
    monkeypatch.setattr(ChannelSelection, "forward", selection(gated, order))
    assert GOLDEN.distance() > SEEN


def test_an_activation_of_the_classifiers_residual_would_be_seen() -> None:
    assert (
        GOLDEN.distance(change=lambda system: system.set_submodule("head.smooth_classifiers.3.0.activation", nn.ReLU()))
        > SEEN
    )
    assert (
        GOLDEN.distance(change=lambda system: system.set_submodule("head.border_classifiers.3.0.activation", nn.ReLU()))
        > SEEN
    )


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_another_interpolation_would_be_seen(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dfn, "upsample", lambda features, size: F.interpolate(features, tuple(size), mode=mode))
    assert GOLDEN.distance() > SEEN


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
