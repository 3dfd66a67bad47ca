"""The Non-local head with the weights of mmsegmentation's gives its outputs and gradients."""

import pytest
import torch
from changes import exchanged, leaky, rebuilt, rolled_inputs
from golden_case import AgreementTests, Classified, GoldenCase, GoldenTests, Patch, returning
from head_configs import every_position, parameters_of
from head_configs import head as head_of
from torch import Tensor, nn

from ocnet_pl.model import whole_image_attention
from ocnet_pl.model.attention import attend
from ocnet_pl.model.head.non_local import NonLocal, NonLocalBlock

BLOCK = {"theta.conv": "query", "phi.conv": "key", "g.conv": "value", "conv_out.conv": "project.0",
         "conv_out.bn": "project.1"}  # fmt: skip


class WithoutInput(NonLocalBlock):
    def forward(self, features: Tensor) -> Tensor:
        return self.project(self.context(features))  # type: ignore[no-any-return]


class OverQueries(NonLocalBlock):
    def context(self, features: Tensor) -> Tensor:
        query, key, value = (layer(features).flatten(2) for layer in (self.query, self.key, self.value))
        weights = (query.transpose(1, 2) @ key * key.shape[1] ** -0.5).softmax(1)
        return (value @ weights.transpose(1, 2)).unflatten(2, features.shape[2:])


class TestNonLocal(GoldenTests):
    case = GoldenCase(
        "non_local",
        lambda: Classified(NonLocal(24, 12, dropout=0.0), 5),
        returning("logits"),
        {
            "convs.0.conv": "head.reduce.0", "convs.0.bn": "head.reduce.1",
            "convs.1.conv": "head.smooth.0", "convs.1.bn": "head.smooth.1",
            "conv_cat.conv": "head.fuse.0", "conv_cat.bn": "head.fuse.1", "conv_seg": "classifier",
            **{f"nl_block.{theirs}": f"head.context.{mine}" for theirs, mine in BLOCK.items()},
        },
        changes={
            "leaky": leaky,
            "inputs of the fusion": rolled_inputs("head.fuse.0.weight", 12),
            "query and key": exchanged("head.context.query", "head.context.key"),
            "key and value": exchanged("head.context.key", "head.context.value"),
            "without the input": rebuilt("head.context", lambda: WithoutInput(12, 6)),
            "softmax over queries": rebuilt("head.context", lambda: OverQueries(12, 6)),
            "another scale": Patch(whole_image_attention, "attend", lambda q, k, v, _: attend(q, k, v, 1.0)),
        },
        # A bias of the keys shifts all similarities of a query alike, which the softmax cancels.
        unseen=["head.context.key.bias"],
    )  # fmt: skip


class TestTheBlockAlone(AgreementTests):
    case = GoldenCase(
        "non_local", lambda: NonLocalBlock(16, 8), returning("features"), BLOCK, prefix="block/", weight_gradients=0
    )


# Beyond the golden numbers.


def test_parameters() -> None:
    assert parameters_of(head_of("non_local", 2048, 19)) + parameters_of(nn.Conv2d(512, 19, 1)) == 24_131_859


@torch.no_grad()
def test_rows_times_values_are_the_context() -> None:
    torch.manual_seed(0)
    block, features = NonLocalBlock(6, 3), torch.randn(1, 6, 4, 5)
    for layer in (block.query, block.key):
        nn.init.normal_(layer.weight)
    rows = block.rows(features, every_position(4, 5))
    torch.testing.assert_close(rows.sum((1, 2)), torch.ones(20))
    rebuilt = torch.einsum("phw,chw->cp", rows, block.value(features)[0]).view(3, 4, 5)
    torch.testing.assert_close(rebuilt, block.context(features)[0])
    assert block.size(features) == (4, 5)
    assert block.reach(2, 1, (4, 5)).all()


def test_the_block_starts_as_identity() -> None:
    torch.manual_seed(0)
    block, features = NonLocalBlock(64, 32), torch.randn(2, 64, 5, 6)
    torch.testing.assert_close(block(features), features, rtol=0, atol=0)
    assert float(block.query.weight.detach().std()) == pytest.approx(0.01, rel=0.1)
    assert not any(layer.bias.any() for layer in (block.query, block.key, block.value))


def test_what_it_shows() -> None:
    head = NonLocal(8, 16).eval()
    features = torch.randn(1, 8, 6, 7)
    ((attention, reduced),) = head.attended(features)
    assert attention.name == "whole image"
    torch.testing.assert_close(reduced, head.reduce(features))
