"""ISA with the weights of the authors' module gives its outputs and gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from golden_heads import Case, every_position, parameters_of, rolled
from golden_systems import SEEN, exchanged, leaky, removed, set_to, shifted
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
    "0": "head.reduce.0", "1.0": "head.reduce.1", "2.conv_bn.0": "head.fuse.0", "2.conv_bn.1.0": "head.fuse.1",
    "2.up_conv.0": "head.widen.0", "2.up_conv.1.0": "head.widen.1",
    **{
        f"2.stages.{block}.{stage}_sa.{theirs}": f"head.blocks.{block}.{stage}.{mine}"
        for block in (0, 1) for stage in ("long_range", "short_range") for theirs, mine in LAYERS.items()
    },
}  # fmt: skip


def case(name: str, *factors: tuple[int, int]) -> Case:
    return Case(
        "isa", lambda: ISA(24, 12, factors=factors, dropout=0.0), NAMES, prefix=f"{name}/", output="y", num_classes=0
    )


CASES = {"f8": case("f8", (8, 8)), "f4x3": case("f4x3", (4, 3)), "two_factors": case("two_factors", (4, 4), (2, 2))}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_outputs(name: str, training: bool) -> None:
    assert CASES[name].distance(training=training) <= 1e-5


@pytest.mark.parametrize("name", CASES)
def test_all_gradients(name: str) -> None:
    CASES[name].assert_gradients(3 if name == "f8" else 0)  # the other variants have the input's alone


PLACES = [(name, *place) for name in ("f8", "two_factors") for place in CASES[name].layers()]
PARAMETERS = [(name, parameter) for name in ("f8", "two_factors") for parameter in CASES[name].parameters()]


@pytest.mark.parametrize(("name", "layer", "index"), PLACES)
def test_a_missing_norm_or_activation_would_be_seen(name: str, layer: str, index: int) -> None:
    assert CASES[name].distance(training=False, change=removed(layer, index)) > SEEN


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_every_weight_would_be_seen(name: str, parameter: str) -> None:
    assert CASES[name].distance(training=False, change=shifted(parameter)) > SEEN


def set_in_block(name: str, value: object) -> Callable[[nn.Module], None]:
    return lambda head: set_to(name, value)(head.get_submodule("blocks.0"))


class NearFirst(InterlacedAttention):
    def forward(self, features: Tensor) -> Tensor:
        padded = self._padded(features)
        return self._cut(self.long_range(self.short_range(padded, self._blocks(padded)), self.factor), (13, 17))


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


def another(block: type[InterlacedAttention]) -> Callable[[nn.Module], None]:
    def change(head: nn.Module) -> None:
        built = block(12, 6, (8, 8), negative_slope=0.0)
        built.load_state_dict(head.get_submodule("blocks.0").state_dict())
        head.set_submodule("blocks.0", built)

    return change


@pytest.mark.parametrize(
    "change",
    [
        leaky, rolled("fuse.0.weight", 12), set_in_block("factor", (4, 8)), set_in_block("factor", (8, 4)),
        exchanged("blocks.0.long_range.query", "blocks.0.long_range.key"),
        exchanged("blocks.0.short_range.query", "blocks.0.short_range.key"),
        exchanged("blocks.0.long_range", "blocks.0.short_range"),
        *(another(block) for block in (NearFirst, PaddedAtTheEnd, LargerHalfFirst, Reflected, WithInput)),
    ],
)  # fmt: skip
def test_any_change_would_be_seen(change: Callable[[nn.Module], None]) -> None:
    assert CASES["f8"].distance(training=False, change=change) > SEEN


def test_the_order_of_the_blocks_would_be_seen() -> None:
    assert CASES["two_factors"].distance(training=False, change=exchanged("blocks.0", "blocks.1")) > SEEN


@pytest.mark.parametrize("scale", [1.0, 12**-0.5])
def test_another_scale_would_be_seen(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isa, "attend", lambda query, key, value: attend(query, key, value, scale))
    assert CASES["f8"].distance(training=False) > SEEN


def test_padding_without_keys_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys are those of zeros, which are never similar to nothing."""

    def masked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        similar = query @ key.mT * key.shape[2] ** -0.5
        return similar.masked_fill((value == 0).all(2)[:, None], float("-inf")).softmax(2) @ value

    monkeypatch.setattr(isa, "attend", masked)
    assert CASES["f8"].distance(training=False) > SEEN
    monkeypatch.setattr(isa, "attend", lambda q, k, v: (q @ k.mT * k.shape[2] ** -0.5).softmax(2) @ v)
    assert CASES["f8"].distance(training=False) <= 1e-5


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
