"""DANet with the weights of the authors' module gives that module's outputs and gradients."""

import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, leaky, rebuilt, replaced, set_to
from golden_case import AgreementTests, Classified, GoldenCase, GoldenTests, Patch, returning
from golden_numbers import SAME
from torch import Tensor, nn

from ocnet_pl.config.compose import compose
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model import whole_image_attention
from ocnet_pl.model.attention import attend
from ocnet_pl.model.head.danet import ChannelAttention, DANet, PositionAttention


def outputs(system: Classified, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    features, extras = system.head.supervised(inputs["features"])  # type: ignore[operator, union-attr]
    return {"sum": system.classifier(features), **extras}


class Swapped(PositionAttention):
    """Softmax over the queries, not over the keys."""

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = (layer(features).flatten(2) for layer in (self.query, self.key, self.value))
        weights = (query.transpose(1, 2) @ key).softmax(1)
        return self.gamma * (value @ weights.transpose(1, 2)).view_as(features) + features


QKV = ("query", "key", "value")
similar_channels = set_to("similar_channels", True, "head.channel_attention")


class TestDANet(GoldenTests):
    case = GoldenCase(
        "danet",
        lambda: Classified(DANet(64, 5, 16, dropout=0.0), 5),
        outputs,
        {
            "conv5a": "head.position_reduce", "conv5c": "head.channel_reduce", "sa": "head.position_attention",
            **{f"sa.{name}_conv": f"head.position_attention.{name}" for name in QKV},
            "sc": "head.channel_attention", "conv51": "head.position_smooth", "conv52": "head.channel_smooth",
            "conv6.1": "head.position_classifier", "conv7.1": "head.channel_classifier", "conv8.1": "classifier",
        },
        weight_gradients=5,
        changes={
            "leaky": leaky,
            "softmax over queries": rebuilt("head.position_attention", lambda: Swapped(16, 2)),
            "another channel attention": replaced(
                "head.channel_attention", lambda: ChannelAttention(similar_channels=True)
            ),
            "similar channels": similar_channels,
            "reductions": exchanged("head.position_reduce", "head.channel_reduce"),
            "smoothing": exchanged("head.position_smooth", "head.channel_smooth"),
            "classifiers": exchanged("head.position_classifier", "head.channel_classifier"),
            "attentions": exchanged("head.position_attention", "head.channel_attention"),
            "query and key": exchanged("head.position_attention.query", "head.position_attention.key"),
            "scaled similarities": Patch(whole_image_attention, "attend", lambda q, k, v, scale: attend(q, k, v)),
        },
        # A bias of the keys shifts all similarities of a query alike, which the softmax cancels.
        unseen=["head.position_attention.key.bias"],
    )  # fmt: skip

    def test_another_channel_attention_differs_by_its_sign_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Tensor, "softmax", lambda energy, dim: torch.softmax(-energy, dim))
        assert self.case.differences(change=similar_channels)["channel"] <= SAME


class TestPositionAttentionAlone(AgreementTests):
    case = GoldenCase(
        "danet",
        lambda: PositionAttention(16, 2),
        returning("features"),
        {f"{name}_conv": name for name in QKV},
        prefix="pam/",
        weight_gradients=1,
    )


class TestChannelAttentionAlone(AgreementTests):
    case = GoldenCase("danet", ChannelAttention, returning("features"), prefix="cam/", weight_gradients=1)


# Beyond the golden numbers.


def test_rows_times_values_are_danets_position_attention() -> None:
    torch.manual_seed(0)
    attention = PositionAttention(6, 3)
    nn.init.constant_(attention.gamma, 0.7)
    features = torch.randn(1, 6, 4, 5)
    points = torch.cartesian_prod(torch.arange(5), torch.arange(4))
    with torch.no_grad():
        rows, value = attention.rows(features, points), attention.value(features)[0]
        rebuilt = 0.7 * torch.einsum("phw,chw->pc", rows, value) + features[0, :, points[:, 1], points[:, 0]].T
        x, y = points.T
        torch.testing.assert_close(rebuilt, attention(features)[0, :, y, x].T)
    assert attention.size(features) == (4, 5)
    assert attention.reach(2, 1, (4, 5)).all()


def test_danet_shows_its_position_attention_alone() -> None:
    head = DANet(8, 3, 16).eval()
    features = torch.randn(1, 8, 6, 7)
    ((attention, reduced),) = head.attended(features)
    assert attention.name == "position attention"
    torch.testing.assert_close(reduced, head.position_reduce(features))


@torch.no_grad()
def test_channel_attention_survives_half_precision() -> None:
    """Its similarities sum over all positions, beyond 65504."""
    attention = ChannelAttention()
    nn.init.constant_(attention.gamma, 1.0)
    features = 3 + torch.rand(1, 4, 97, 97, generator=torch.Generator().manual_seed(0))
    assert features.flatten(2).square().sum(2).min() > torch.finfo(torch.float16).max
    exact = attention(features)
    with torch.autocast("cpu", torch.float16):
        torch.testing.assert_close(attention(features), exact, rtol=0, atol=0)
        half = attention(features.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, rtol=2e-2, atol=0)


def test_all_three_classifiers_of_danet_have_dropout() -> None:
    head = DANet(8, 3, 16, dropout=1.0).train()
    features, extras = head.supervised(torch.randn(2, 8, 5, 6))
    assert not features.any()
    for name, classifier in (("position", head.position_classifier), ("channel", head.channel_classifier)):
        torch.testing.assert_close(extras[name], classifier.bias.view(1, 3, 1, 1).expand(2, 3, 5, 6))
    assert compose("model/head=danet").model.head.dropout == 0.1


def test_the_losses_of_danets_paths() -> None:
    head = DANet(8, 3, 16, path_weight=0.5).train()
    _, extras = head.supervised(torch.randn(2, 8, 5, 6))
    label = torch.randint(3, (2, 33, 41), dtype=torch.uint8)
    label[:, :9] = 255
    terms = head.losses(extras, {"label": label}, CrossEntropy())
    for name, logits in extras.items():
        expected = F.cross_entropy(
            F.interpolate(logits, (33, 41), mode="bilinear", align_corners=True), label.long(), ignore_index=255
        )
        torch.testing.assert_close(terms[name], 0.5 * expected)
    assert set(terms) == {"position", "channel"}
    ignored = head.losses(extras, {"label": torch.full_like(label, 255)}, CrossEntropy())
    torch.stack(list(ignored.values())).sum().backward()
    assert all(term.item() == 0 for term in ignored.values())
    assert all(p.grad is not None for p in head.parameters()), "another process waits for every gradient"


def test_gates_start_closed() -> None:
    head, features = DANet(8, 3, 16), torch.randn(2, 16, 5, 6)
    for attention in (head.position_attention, head.channel_attention):
        torch.testing.assert_close(attention(features), features, rtol=0, atol=0)
