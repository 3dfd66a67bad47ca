"""ISA with the weights of the authors' module gives its outputs and gradients."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from changes import Change, exchanged, leaky, rebuilt, rolled_inputs, set_to, without
from golden_case import AgreementTests, GoldenCase, GoldenTests, Patch, returning
from golden_numbers import SAME
from head_configs import every_position, parameters_of
from head_configs import head as head_of
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.model.attention import attend
from ocnet_pl.model.head import isa
from ocnet_pl.model.head.isa import ISA, InterlacedAttention
from ocnet_pl.model.partition import interlaced_image, interlaced_tokens

LAYERS = {"f_key.0": "key.0.0", "f_key.1.0": "key.0.1", "f_key.2": "key.1.0", "f_key.3.0": "key.1.1",
          "f_query.0": "query.0.0", "f_query.1.0": "query.0.1", "f_query.2": "query.1.0", "f_query.3.0": "query.1.1",
          "f_value": "value", "W.0": "project.0", "W.1.0": "project.1"}  # fmt: skip
NAMES = {
    "0": "reduce.0", "1.0": "reduce.1", "2.conv_bn.0": "fuse.0", "2.conv_bn.1.0": "fuse.1",
    "2.up_conv.0": "widen.0", "2.up_conv.1.0": "widen.1",
    **{
        f"2.stages.{block}.{stage}_sa.{theirs}": f"blocks.{block}.{stage}.{mine}"
        for block in (0, 1) for stage in ("long_range", "short_range") for theirs, mine in LAYERS.items()
    },
}  # fmt: skip


class NearFirst(InterlacedAttention):
    def forward(self, features: Tensor) -> Tensor:
        padded = self._padded(features)
        return self._cut(
            self.long_range(self.short_range(padded, self._blocks(features.shape[2:])), self.factor), (13, 17)
        )


class PaddedAtTheEnd(InterlacedAttention):
    def _padding(self, size: Any) -> list[tuple[int, int]]:
        return [(0, sum(one)) for one in super()._padding(size)]


class LargerHalfFirst(InterlacedAttention):
    def _padding(self, size: Any) -> list[tuple[int, int]]:
        return [(after, before) for before, after in super()._padding(size)]


class Reflected(InterlacedAttention):
    def _padded(self, features: Tensor) -> Tensor:
        (top, bottom), (left, right) = self._padding(features.shape[2:])
        return F.pad(features, (left, right, top, bottom), mode="reflect")


class WithInput(InterlacedAttention):
    def forward(self, features: Tensor) -> Tensor:
        return features + super().forward(features)


def another(block: type[InterlacedAttention]) -> Change:
    return rebuilt("blocks.0", lambda: block(12, 6, (8, 8), negative_slope=0.0))


def scaled(scale: float) -> Patch:
    return Patch(isa, "attend", lambda query, key, value: attend(query, key, value, scale))


def similar(query: Tensor, key: Tensor) -> Tensor:
    return query @ key.mT * key.shape[2] ** -0.5  # type: ignore[no-any-return]


def padding_without_keys(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Padding has keys: those of zeros, which are never similar to nothing."""
    of_padding = (value == 0).all(2)[:, None]
    return similar(query, key).masked_fill(of_padding, float("-inf")).softmax(2) @ value


def single_layers(blocks: int) -> dict[str, Change]:
    """Changes: a query or key of one layer in place of two."""
    return {
        f"one layer for the {part} in {block}.{stage}": without(f"blocks.{block}.{stage}.{part}.1")
        for block in range(blocks)
        for stage in ("long_range", "short_range")
        for part in ("query", "key")
    }


def variant(*factors: tuple[int, int], **facts: Any) -> GoldenCase:
    return GoldenCase("isa", lambda: ISA(24, 12, factors=factors, dropout=0.0), returning("features"), NAMES, **facts)


class TestISA(GoldenTests):
    case = variant(
        (8, 8),
        prefix="f8/",
        changes={
            "leaky": leaky,
            "inputs of the fusion": rolled_inputs("fuse.0.weight", 12),
            "fewer rows in a group": set_to("factor", (4, 8), "blocks.0"),
            "fewer columns in a group": set_to("factor", (8, 4), "blocks.0"),
            "query and key, long range": exchanged("blocks.0.long_range.query", "blocks.0.long_range.key"),
            "query and key, short range": exchanged("blocks.0.short_range.query", "blocks.0.short_range.key"),
            "ranges": exchanged("blocks.0.long_range", "blocks.0.short_range"),
            "near pixels first": another(NearFirst),
            "padding at the end": another(PaddedAtTheEnd),
            "larger half of the padding first": another(LargerHalfFirst),
            "reflection": another(Reflected),
            "with the input": another(WithInput),
            "no scale": scaled(1.0),
            "scale of all channels": scaled(12**-0.5),
            "padding without keys": Patch(isa, "attend", padding_without_keys),
            **single_layers(1),
        },
    )

    def test_the_attention_in_plain_form(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(isa, "attend", lambda query, key, value: similar(query, key).softmax(2) @ value)
        assert self.case.distance() <= SAME


class TestTwoFactors(GoldenTests):
    case = variant(
        (4, 4),
        (2, 2),
        prefix="two_factors/",
        weight_gradients=0,
        changes={"order of the blocks": exchanged("blocks.0", "blocks.1"), **single_layers(2)},
    )


class TestAFactorOfTwoNumbers(AgreementTests):
    case = variant((4, 3), prefix="f4x3/", weight_gradients=0)


# Beyond the golden numbers.


def test_parameters() -> None:
    assert parameters_of(head_of("isa", 2048, 19)) + parameters_of(nn.Conv2d(512, 19, 1)) == 11_814_419


def test_interlaced_groups() -> None:
    features = torch.arange(48).view(1, 1, 6, 8)
    groups = interlaced_tokens(features, (2, 4))
    assert groups.shape == (8, 6, 1)
    for group, (row, column) in enumerate((row, column) for row in range(2) for column in range(4)):
        assert torch.equal(groups[group, :, 0], features[0, 0, row::2, column::4].flatten())
    many = torch.randn(3, 5, 6, 8)
    assert torch.equal(interlaced_image(interlaced_tokens(many, (2, 4)), (2, 4), (6, 8)), many)


@pytest.mark.parametrize("size", [(8, 12), (7, 11), (2, 3), (1, 1)])
@torch.no_grad()
def test_rows_times_values_are_both_attentions(size: tuple[int, int]) -> None:
    """With identity in place of value and output transforms. The first channel is 1, and 0 on padding."""
    torch.manual_seed(0)
    block = InterlacedAttention(6, 3, (4, 3), negative_slope=0.0).eval()
    for attention in (block.long_range, block.short_range):
        attention.project = nn.Identity()
        attention.value = nn.Identity()
    features = torch.randn(1, 6, *size)
    features[:, 0] = 1
    points = every_position(*size)
    rows = block.rows(features, points)
    rebuilt = torch.einsum("phw,chw->cp", rows, features[0]).view(6, *size)
    context = block(features)[0]
    if size == (8, 12):
        torch.testing.assert_close(context[0], torch.ones(size), msg="nothing is lost without padding")
    else:
        assert context[0].max() < 1
    torch.testing.assert_close(rebuilt, context / context[0])
    torch.testing.assert_close(rows.sum((1, 2)), torch.ones(len(points)))
    assert (rows > 0).all(), "as `reach` says"
    assert block.reach(0, 0, size).all()
    assert block.size(features) == size


def test_what_it_shows() -> None:
    head = ISA(8, 16, factors=[[4, 4], [2, 3]]).eval()
    features = torch.randn(1, 8, 6, 7)
    shown = head.attended(features)
    assert [attention.name for attention, _ in shown] == ["interlaced, 4x4", "interlaced, 2x3"]
    for _, reduced in shown:
        torch.testing.assert_close(reduced, head.reduce(features))


@pytest.mark.parametrize("factor", [[8], [8, 0], [8, 8, 8]])
def test_a_wrong_factor_is_refused(factor: list[int]) -> None:
    with pytest.raises(ArgumentError, match=r"factors=\[8.*expected two numbers"):
        ISA(8, 16, factors=[factor])
