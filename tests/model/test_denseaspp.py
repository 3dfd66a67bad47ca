"""DenseASPP with the weights of the authors' network gives its outputs and gradients."""

import pytest
import torch
from changes import Change, leaky, replaced
from golden_case import Classified, GoldenCase, GoldenTests, Patch, returning
from golden_numbers import assert_same
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.model.head.denseaspp import DenseASPP, DenseASPPBlock

DILATIONS = (3, 6, 12, 18, 24)
LAYERS = {"norm1": 0, "conv1": 2, "norm2": 3, "conv2": 5}
"""The authors' names of layers and places in a block."""


def name_of(theirs: str) -> str:
    """Our name of one of the authors' weights."""
    block, layer, *rest = theirs.split(".")
    if block == "classification":
        return ".".join(["classifier", *rest])
    return ".".join(["head.blocks", str(DILATIONS.index(int(block.removeprefix("ASPP_")))), str(LAYERS[layer]), *rest])


def norm_in_the_first_block(system: nn.Module) -> None:
    norm = nn.BatchNorm2d(16)
    nn.init.constant_(norm.bias, 0.1)
    system.set_submodule("head.blocks.0.0", norm)


def activation_behind_a_block(system: nn.Module) -> None:
    system.get_submodule("head.blocks.2").append(nn.ReLU())  # type: ignore[operator]


def larger_dilation(block: int) -> Change:
    def change(system: nn.Module) -> None:
        conv = system.get_submodule(f"head.blocks.{block}.5")
        conv.dilation = conv.padding = (DILATIONS[block] + 1,) * 2  # type: ignore[assignment]

    return change


def newest_last(head: DenseASPP, features: Tensor) -> Tensor:
    features = head.activation(features)
    for block in head.blocks:
        features = torch.cat([features, block(features)], 1)
    return features


class TestDenseASPP(GoldenTests):
    case = GoldenCase(
        "denseaspp",
        lambda: Classified(DenseASPP(16, hidden_channels=6, growth=4, dropout=0.0), 5),
        returning("logits"),
        name_of,
        weight_gradients=4,
        changes={
            "leaky": leaky,
            "no activation before the blocks": replaced("head.activation", nn.Identity),
            "norm in the first block": norm_in_the_first_block,
            "activation behind a block": activation_behind_a_block,
            **{f"larger dilation in block {block}": larger_dilation(block) for block in range(5)},
            "newest output last": Patch(DenseASPP, "forward", newest_last),
        },
        # The features have passed the first block's ReLU before.
        unseen=["head.blocks.0.1"],
    )

    @torch.no_grad()
    def test_the_concatenation_before_the_classifier(self) -> None:
        system, golden, inputs = self.case.load()
        rows = system.eval().get_submodule("head")(inputs["features"])[:, :, [0, 13, 26]]
        assert_same(rows, golden["features_eval_rows_0_13_26"])


# Beyond the golden numbers.


def test_parameters_at_the_papers_width() -> None:
    head = DenseASPP(2048)
    count = sum(p.numel() for p in head.parameters()) + 19 * head.out_channels + 19
    assert head.out_channels == 2048 + 5 * 64
    convolutions = 256 * (5 * 2048 + 64 * (1 + 2 + 3 + 4)) + 5 * 9 * 256 * 64
    assert convolutions == pytest.approx(3.5e6, abs=0.05e6)
    assert count == pytest.approx(3.59e6, abs=0.005e6), "with biases, norms and the classifier"


def test_the_map_of_the_backbone_is_left_as_it_is() -> None:
    features = torch.randn(2, 4, 5, 6)
    before = features.clone()
    DenseASPP(4, hidden_channels=4, growth=2)(features)
    assert torch.equal(features, before)


def test_a_fusion_to_one_width() -> None:
    head = DenseASPP(4, 7, hidden_channels=4, growth=2).eval()
    assert head(torch.randn(2, 4, 5, 6)).shape == (2, 7, 5, 6)


def test_every_norm_has_the_given_momentum() -> None:
    norms = [m for m in DenseASPP(4, 7, momentum=0.0003).modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 10
    assert {norm.momentum for norm in norms} == {0.0003}


def test_initial_values() -> None:
    torch.manual_seed(0)
    weight = DenseASPP(64, hidden_channels=128).blocks[0][2].weight.detach()  # type: ignore[index]
    bound = (6 / weight[0].numel()) ** 0.5
    assert 0.99 * bound < weight.abs().max() <= bound


def test_all_outputs_have_channel_dropout() -> None:
    head = DenseASPP(4, hidden_channels=4, growth=2)
    assert all(isinstance(block[-1], nn.Dropout2d) and block[-1].p == 0.1 for block in head.blocks)  # type: ignore[index]
    assert isinstance(head.dropout, nn.Dropout2d)
    assert all(isinstance(block, DenseASPPBlock) for block in head.blocks)


def test_the_network_around_it() -> None:
    network = build_network(compose("model/head=denseaspp", "model/backbone=tiny"), 5).eval()
    assert network(torch.zeros(1, 3, 57, 93)).shape == (1, 5, 57, 93)
