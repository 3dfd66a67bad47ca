"""CCNet with the weights of the authors' module gives its outputs and gradients."""

import pytest
import torch
from changes import Change, exchanged, rebuilt, rolled_inputs, set_to, with_slope
from golden_case import AgreementTests, Classified, GoldenCase, GoldenTests, returning
from golden_numbers import SAME, assert_same, golden_file
from head_configs import every_position, parameters_of
from head_configs import head as head_of
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.model.head.ccnet import CCNet, CrissCrossAttention, RecurrentCrissCross


class Narrow(CCNet):
    """Fusion to 12 channels, as in the golden file."""

    def __init__(self) -> None:
        super().__init__(64, 16, dropout=0.0)
        self.out_channels = 12
        self.fuse[0] = nn.Conv2d(80, 12, 3, padding=1, bias=False)
        self.fuse[1] = nn.BatchNorm2d(12)


class Changed(RecurrentCrissCross):
    """The attention from its definition, with one change."""

    twice = separate = scaled = False

    def weights(self, features: Tensor) -> tuple[Tensor, Tensor]:
        query, key = self.query(features), self.key(features)
        if self.scaled:
            query = query * key.shape[1] ** -0.5
        columns = torch.einsum("bchw,bckw->bwhk", query, key)
        rows = torch.einsum("bchw,bchk->bhwk", query, key)
        if not self.twice:
            columns = columns - torch.diag(torch.full((features.shape[2],), float("inf"))).nan_to_num(0, float("inf"))
        if self.separate:
            return columns.softmax(3) / 2, rows.softmax(3) / 2
        total = columns.exp().sum(3).transpose(1, 2) + rows.exp().sum(3)
        return columns.exp() / total.transpose(1, 2)[..., None], rows.exp() / total[..., None]


def changed(*names: str) -> Change:
    """The position counts twice, columns and rows have a softmax each, similarities are scaled; or none of these."""

    def build() -> Changed:
        built = Changed(16, 2, 2)
        for name in names:
            setattr(built, name, True)
        return built

    return rebuilt("head.context", build)


class TestCCNet(GoldenTests):
    case = GoldenCase(
        "ccnet",
        lambda: Classified(Narrow(), 5),
        returning("logits"),
        {
            "conva": "head.reduce", "cca": "head.context", "cca.query_conv": "head.context.query",
            "cca.key_conv": "head.context.key", "cca.value_conv": "head.context.value", "convb": "head.smooth",
            "bottleneck.3": "classifier", "bottleneck": "head.fuse",
        },
        prefix="r2/",
        changes={
            "no slope": with_slope(0.0),
            "inputs of the fusion": rolled_inputs("head.fuse.0.weight", 16),
            "query and key": exchanged("head.context.query", "head.context.key"),
            "the position twice": changed("twice"),
            "a softmax for columns and one for rows": changed("separate"),
            "scaled similarities": changed("scaled"),
            "one pass": set_to("recurrence", 1, "head.context"),
            "three passes": set_to("recurrence", 3, "head.context"),
        },
        # A bias of the keys shifts all similarities of a query alike, which the softmax cancels.
        unseen=["head.context.key.bias"],
    )  # fmt: skip

    def test_the_definition_alone_changes_nothing(self) -> None:
        assert self.case.distance(change=changed()) <= SAME

    @torch.no_grad()
    def test_one_pass(self) -> None:
        """The same weights; the file holds the output alone."""
        system, _, inputs = self.case.load()
        set_to("recurrence", 1, "head.context")(system)
        assert_same(system.eval()(inputs["features"]), golden_file("ccnet", "r1/")["y_eval/logits"])


class TestTheAttentionAlone(AgreementTests):
    case = GoldenCase(
        "ccnet",
        lambda: CrissCrossAttention(16, 2),
        returning("features"),
        {f"{name}_conv": name for name in ("query", "key", "value")},
        prefix="attention/",
        weight_gradients=2,
    )


# Beyond the golden numbers.


def test_parameters() -> None:
    assert parameters_of(head_of("ccnet", 2048, 19)) + parameters_of(nn.Conv2d(512, 19, 1)) == 23_934_100


def dense(attention: CrissCrossAttention, features: Tensor) -> Tensor:
    """The whole map of one pass, (N, N), from its definition."""
    height, width = features.shape[2:]
    query, key = attention.query(features)[0], attention.key(features)[0]
    similar = torch.einsum("chw,ckl->hwkl", query, key)
    y, x = torch.arange(height), torch.arange(width)
    crossed = (y[:, None, None, None] == y[:, None]) | (x[None, :, None, None] == x[None, None, None])
    return similar.masked_fill(~crossed, float("-inf")).flatten(2).flatten(0, 1).softmax(1)


@pytest.mark.parametrize("recurrence", [1, 2, 3])
@torch.no_grad()
def test_rows_are_the_product_of_the_passes(recurrence: int) -> None:
    torch.manual_seed(0)
    attention, features = RecurrentCrissCross(6, 3, recurrence), torch.randn(1, 6, 4, 5)
    nn.init.constant_(attention.gamma, 0.7)
    product, state = torch.eye(20), features
    for _ in range(recurrence):
        one = dense(attention, state)
        rebuilt = 0.7 * (attention.value(state)[0].flatten(1) @ one.T).view(1, 6, 4, 5) + state
        state = CrissCrossAttention.forward(attention, state)
        torch.testing.assert_close(rebuilt, state)
        product = one @ product
    torch.testing.assert_close(state, attention(features))
    rows = attention.rows(features, every_position(4, 5))
    torch.testing.assert_close(rows.flatten(1), product)
    torch.testing.assert_close(rows.sum((1, 2)), torch.ones(20))
    reach = torch.stack([attention.reach(int(x), int(y), (4, 5)) for x, y in every_position(4, 5)])
    assert torch.equal(reach, rows > 0)
    assert attention.size(features) == (4, 5)


def test_a_position_attends_to_its_cross() -> None:
    reach = RecurrentCrissCross(6, 3, 1).reach(3, 1, (4, 5))
    assert reach.sum() == 4 + 5 - 1
    assert reach[1].all()
    assert reach[:, 3].all()


def test_a_map_of_one_row() -> None:
    """No other position in the column: the softmax still has the row."""
    attention = RecurrentCrissCross(6, 3, 2)
    nn.init.ones_(attention.gamma)
    for size in ((1, 5), (5, 1), (1, 1)):
        assert attention(torch.randn(2, 6, *size)).isfinite().all()


def test_it_survives_half_precision() -> None:
    attention = RecurrentCrissCross(6, 3, 2)
    nn.init.ones_(attention.gamma)
    features = torch.randn(2, 6, 7, 5)
    exact = attention(features)
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(attention(features).float(), exact, rtol=0.02, atol=0.02)


def test_the_gate_starts_closed() -> None:
    head, features = CCNet(8, 16), torch.randn(2, 16, 5, 6)
    torch.testing.assert_close(head.context(features), features, rtol=0, atol=0)


def test_what_it_shows() -> None:
    head = CCNet(8, 16).eval()
    features = torch.randn(1, 8, 6, 7)
    ((attention, reduced),) = head.attended(features)
    assert attention.name == "criss-cross, 2 passes"
    torch.testing.assert_close(reduced, head.reduce(features))


def test_no_pass_is_refused() -> None:
    with pytest.raises(ArgumentError, match="recurrence=0: expected 1 or more"):
        CCNet(8, 16, recurrence=0)
