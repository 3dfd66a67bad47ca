"""DepthSeg's recurrent module agrees with a second writing of it (golden numbers); its losses with plain formulas."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from changes import Change, exchanged, leaky, rolled_inputs, shifted
from golden_case import GoldenCase, GoldenTests
from golden_numbers import SAME, golden_file
from head_configs import head
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.config.compose import compose
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.head.depthseg import DepthSeg, depth_bins

NAMES = {
    "block1": "fuse", "depth": "further.depth", "depth_cls": "further.depth_classifier", "branches": "further.branches",
    "block3": "further.project", "cls": "further.classifier",
}  # fmt: skip


class Loops(nn.Module):
    """The two loops of the golden file: fusion and gated pooling, with a given output of the loop before."""

    def __init__(self) -> None:
        super().__init__()
        built = DepthSeg(4, 5, 6, depth_channels=(5, 4), dropout=0.0)
        self.fuse, self.further = built.fuse, built.further

    def outputs(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        reduced, state = inputs["res6"], inputs["state"]
        outputs = {}
        for number in (1, 2):
            state, logits, depth = self.further(self.fuse(torch.cat([reduced, state], 1)))
            outputs |= {f"depth{number}": depth, f"logits{number}": logits}
        return outputs


def other_dilation(loops: nn.Module) -> None:
    loops.get_submodule("further.branches.4.0").dilation = (15, 15)  # type: ignore[assignment]
    loops.get_submodule("further.branches.4.0").padding = (15, 15)  # type: ignore[assignment]


def near_first(loops: nn.Module) -> None:
    branches = loops.get_submodule("further.branches")
    loops.further.branches = nn.ModuleList(list(branches)[::-1])  # type: ignore[union-attr, arg-type]


def with_forward(forward: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor, Tensor]]) -> Change:
    def change(loops: nn.Module) -> None:
        further = loops.further
        loops.further.forward = lambda features: forward(further, features)  # type: ignore[arg-type, union-attr]

    return change


def pooled(part: nn.Module, features: Tensor, gates: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    depth = part.depth_classifier(part.depth(features))  # type: ignore[operator]
    weights = gates(depth)
    total = sum(weights[:, [k]] * branch(features) for k, branch in enumerate(part.branches))  # type: ignore[arg-type]
    output = part.project(total)  # type: ignore[operator]
    return output, part.classifier(output), depth  # type: ignore[operator]


def gated(gates: Callable[[Tensor], Tensor]) -> Change:
    return with_forward(lambda part, features: pooled(part, features, gates))


def own_weights_for_the_second_loop(loops: nn.Module) -> None:
    second = copy.deepcopy(loops.further)
    shifted("project.0.weight")(second)  # type: ignore[arg-type]
    parts = [loops.further, second]
    loops.further = nn.ModuleDict()
    loops.further.forward = lambda features: parts.pop(0)(features)  # type: ignore[method-assign, operator]


class TestTheLoops(GoldenTests):
    case = GoldenCase(
        "depthseg",
        Loops,
        Loops.outputs,
        NAMES,
        changes={
            "leaky": leaky,
            "dilation 15": other_dilation,
            "state first": rolled_inputs("fuse.0.weight", 6),
            "near depth takes dilation 1": near_first,
            "two branches exchanged": exchanged("further.branches.0", "further.branches.1"),
            "gates without softmax": gated(lambda depth: depth),
            "softmax over rows": gated(lambda depth: depth.softmax(2)),
            "gates by sigmoid": gated(torch.sigmoid),
            "sharper gates": gated(lambda depth: (2 * depth).softmax(1)),
            "inverted gates": gated(lambda depth: (-depth).softmax(1)),
            "mean of the branches": gated(lambda depth: torch.full_like(depth, 0.2)),
            "own weights": own_weights_for_the_second_loop,
        },
    )

    def test_the_pooling_in_plain_form(self) -> None:
        assert self.case.distance(change=gated(lambda depth: depth.softmax(1))) <= SAME


def test_bins_of_depth() -> None:
    golden = golden_file("depthseg_bins")
    bins = depth_bins(golden["disparity_png_value"])
    expected = golden["bin_0_is_ignored"].long()
    assert torch.equal(bins, torch.where(expected == 0, 255, expected - 1))


@pytest.mark.parametrize("value", [10, 2048, 5792, 9410, 15286])
def test_another_edge_of_a_bin_would_be_seen(value: int) -> None:
    low, high = depth_bins(torch.tensor([value, value + 1], dtype=torch.int32)).tolist()
    assert low != high
    assert value in golden_file("depthseg_bins")["disparity_png_value"].tolist()


# Beyond the golden numbers: the whole head.


def test_the_number_of_parameters() -> None:
    def layer(into: int, out: int, kernel_size: int = 3) -> int:
        return into * out * kernel_size**2 + 2 * out

    pooling = layer(512, 128) + layer(128, 32) + 33 * 5 + 5 * layer(512, 512) + layer(512, 512, 1) + 513 * 19
    expected = layer(2048, 512) + layer(1024, 512) + 2 * pooling
    assert sum(p.numel() for p in head("depthseg", 2048, 19).parameters()) == expected == 39_561_200


def test_dropout_is_before_both_classifiers() -> None:
    built = DepthSeg(4, 3, 8, dropout=1.0).train()
    for loop, pooling in enumerate((built.first, built.further, built.further)):
        classes, depths = built._loops(torch.randn(2, 4, 5, 6))
        for logits, classifier in ((classes[loop], pooling.classifier), (depths[loop], pooling.depth_classifier)):
            torch.testing.assert_close(logits, classifier.bias.view(1, -1, 1, 1).expand_as(logits))


def test_the_first_loop_has_weights_of_its_own_and_further_loops_share_theirs() -> None:
    three, five = (DepthSeg(4, 3, 8, loop_weights=(0.1,) * further) for further in (2, 4))
    assert three.state_dict().keys() == five.state_dict().keys()
    assert {name.partition(".")[0] for name in three.state_dict()} == {"reduce", "first", "fuse", "further"}
    classes, depths = five._loops(torch.randn(2, 4, 5, 6))
    assert len(classes) == len(depths) == 5
    three.train()._loops(torch.randn(2, 4, 5, 6))
    assert int(three.further.project[1].num_batches_tracked) == 2, "both loops move the shared statistics"


@torch.no_grad()
def test_testing_takes_the_maximum_over_the_loops() -> None:
    built = DepthSeg(4, 3, 8).eval()
    features = torch.randn(2, 4, 5, 6)
    classes, _ = built._loops(features)
    probabilities = torch.stack([logits.softmax(1) for logits in classes])
    torch.testing.assert_close(built(features).exp(), probabilities.amax(0))
    last = DepthSeg(4, 3, 8, dropout=0.0).train()
    torch.testing.assert_close(last(features), last._loops(features)[0][-1])


def extras_of(built: DepthSeg) -> dict[str, Tensor]:
    return dict(built.supervised(torch.randn(2, 4, 5, 6))[1])


def test_the_losses() -> None:
    built = DepthSeg(4, 3, 8, depth_weight=0.03, dropout=0.0).train()
    extras = extras_of(built)
    label = torch.randint(3, (2, 33, 41), dtype=torch.uint8)
    label[:, :9] = 255
    disparity = torch.randint(30000, (2, 33, 41)).to(torch.uint16)
    terms = built.losses(extras, {"label": label, "disparity": disparity}, CrossEntropy())
    assert set(terms) == {"loop0", "loop1", "depth"}

    def loss(name: str, target: Tensor) -> Tensor:
        logits = F.interpolate(extras[name], (33, 41), mode="bilinear", align_corners=True)
        return F.cross_entropy(logits, target, ignore_index=255)

    torch.testing.assert_close(terms["loop0"], 0.1 * loss("loop0", label.long()))
    torch.testing.assert_close(terms["loop1"], 0.5 * loss("loop1", label.long()))
    value = disparity.float()
    bins = torch.stack([value > 2**edge for edge in (11, 12.5, 13.2, 13.9)]).sum(0).masked_fill(value <= 10, 255)
    torch.testing.assert_close(terms["depth"], 0.03 * sum(loss(f"depth{number}", bins) for number in range(3)))
    assert set(built.losses(extras, {"label": label}, CrossEntropy())) == {"loop0", "loop1"}


def test_the_configured_loss_may_have_weights_of_the_classes() -> None:
    """Depth has another number of classes."""
    built = DepthSeg(4, 3, 8).train()
    label = torch.randint(3, (2, 33, 41), dtype=torch.uint8)
    batch = {"label": label, "disparity": torch.full((2, 33, 41), 9000, dtype=torch.uint16)}
    terms = built.losses(extras_of(built), batch, CrossEntropy(weight=torch.tensor([1.0, 2.0, 3.0])))
    assert terms["depth"].isfinite()


@pytest.mark.parametrize("with_depth", [False, True])
def test_every_parameter_gets_a_gradient_without_any_label(with_depth: bool) -> None:
    built = DepthSeg(4, 3, 8).train()
    features, extras = built.supervised(torch.randn(2, 4, 5, 6))
    label = torch.full((2, 33, 41), 255, dtype=torch.uint8)
    batch = {"label": label} | ({"disparity": torch.zeros(2, 33, 41, dtype=torch.uint16)} if with_depth else {})
    terms = built.losses(extras, batch, CrossEntropy())
    assert all(term.item() == 0 for term in terms.values())
    (features.sum() * 0 + torch.stack(list(terms.values())).sum()).backward()
    assert all(p.grad is not None for p in built.parameters()), "another process waits for every gradient"


@pytest.mark.parametrize(("argument", "value"), [("dilations", (1, 2)), ("depth_channels", (8,)), ("loop_weights", ())])
def test_impossible_arguments_are_refused(argument: str, value: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=f"^{argument}=.*: expected"):
        DepthSeg(4, 3, 8, **{argument: value})


def test_its_options_in_the_config() -> None:
    config = compose("model/head=depthseg")
    assert config.loss.auxiliary_weight == 0
    assert config.model.head.dropout == 0.1
    assert list(config.model.head.loop_weights) == [0.1, 0.5]
