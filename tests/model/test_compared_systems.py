"""UPerNet and DANet with the weights of the authors' modules give the outputs and gradients of the authors' modules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from golden_systems import (
    SEEN,
    assert_gradient,
    exchanged,
    golden_file,
    leaky,
    norms_and_activations,
    ours,
    removed,
    set_to,
    shifted,
    with_weights,
)
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model import whole_image_attention
from ocnet_pl.model.attention import attend
from ocnet_pl.model.head import upernet
from ocnet_pl.model.head.danet import ChannelAttention, DANet, PositionAttention
from ocnet_pl.model.head.upernet import UPerNet
from ocnet_pl.model.layers import conv_norm_act


class System(nn.Module):
    """A head and the classifier that the network puts behind it: all outputs by name."""

    def __init__(self, head: UPerNet | DANet) -> None:
        super().__init__()
        self.head = head
        self.classifier = nn.Conv2d(head.out_channels, 5, 1)

    def forward(self, *maps: Tensor) -> dict[str, Tensor]:
        if isinstance(self.head, UPerNet):
            return {"logits": self.classifier(self.head(*maps))}
        features, extras = self.head.supervised(*maps)
        return {"sum": self.classifier(features), **extras}


@dataclass(frozen=True)
class Case:
    """A golden file.

    Attributes:
        build: makes the head.
        names: the authors' names of layers and ours.
        inputs: names of the inputs.
    """

    build: Callable[[], UPerNet | DANet]
    names: dict[str, str]
    inputs: Sequence[str]


CASES = {
    "upernet": Case(
        lambda: UPerNet((6, 8, 12, 24), 6),
        {
            "ppm_conv": "head.pools", "ppm_last_conv": "head.pyramid", "fpn_in": "head.lateral",
            "fpn_out.0.0": "head.smooth.0", "fpn_out.1.0": "head.smooth.1", "fpn_out.2.0": "head.smooth.2",
            "conv_last.0": "head.fuse", "conv_last.1": "classifier",
        },
        ("layer1", "layer2", "layer3", "layer4"),
    ),
    "danet": Case(
        lambda: DANet(64, 5, 16, dropout=0.0),
        {
            "conv5a": "head.position_reduce", "conv5c": "head.channel_reduce", "sa": "head.position_attention",
            "sc": "head.channel_attention", "conv51": "head.position_smooth", "conv52": "head.channel_smooth",
            "conv6.1": "head.position_classifier", "conv7.1": "head.channel_classifier", "conv8.1": "classifier",
        },
        ("x",),
    ),
}  # fmt: skip
OUTPUTS = [("upernet", "logits"), *(("danet", output) for output in ("sum", "position", "channel"))]


def load(case: str) -> tuple[System, dict[str, Tensor], list[Tensor]]:
    golden = golden_file(case)
    system = System(CASES[case].build())
    with_weights(system, golden, CASES[case].names)
    return system, golden, [golden[name] for name in CASES[case].inputs]


def distances(case: str, *, training: bool, change: Callable[[nn.Module], None] = lambda head: None) -> list[float]:
    """Largest difference to each of the authors' outputs, in multiples of its largest value."""
    system, golden, inputs = load(case)
    change(system.head)
    with torch.no_grad():
        outputs = system.train(training)(*inputs)
    references = [golden[f"{name}_{'train' if training else 'eval'}"] for name in outputs]
    return [
        float((output - reference).abs().max() / reference.abs().max())
        for output, reference in zip(outputs.values(), references, strict=True)
    ]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_outputs(case: str, training: bool) -> None:
    assert max(distances(case, training=training)) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_all_gradients(case: str) -> None:
    system, golden, inputs = load(case)
    outputs = system.train()(*(one.requires_grad_() for one in inputs))
    if case == "upernet":  # whose golden gradients are those of the log softmax
        total = (outputs["logits"].log_softmax(1) * golden["grad_seed"]).sum()
    else:
        total = torch.stack([(output * golden[f"grad_seed/{name}"]).sum() for name, output in outputs.items()]).sum()
    total.backward()
    for name, features in zip(CASES[case].inputs, inputs, strict=True):
        assert_gradient(features.grad, golden[f"grad_{name}_train"])
    of_weights = {n.removeprefix("grad_train/"): t for n, t in golden.items() if n.startswith("grad_train/")}
    assert len(of_weights) >= 3
    for name, theirs in of_weights.items():
        assert_gradient(system.get_parameter(ours(name, CASES[case].names)).grad, theirs)


@pytest.mark.parametrize(("prefix", "build"), [("pam/", lambda: PositionAttention(16, 2)), ("cam/", ChannelAttention)])
def test_each_attention_alone(prefix: str, build: Callable[[], nn.Module]) -> None:
    golden = golden_file("danet", prefix)
    attention = with_weights(build(), golden, {})
    features = golden["x"].requires_grad_()
    output = attention.train()(features)
    assert (output - golden["y_train"]).abs().max() <= 1e-5 * golden["y_train"].abs().max()
    (output * golden["grad_seed"]).sum().backward()
    assert_gradient(features.grad, golden["grad_x_train"])
    assert_gradient(attention.get_parameter("gamma").grad, golden["grad_train/gamma"])


# Any change would be seen.

LAYERS = [(case, *place) for case in CASES for place in norms_and_activations(CASES[case].build())]
PARAMETERS = [(case, name) for case in CASES for name, _ in CASES[case].build().named_parameters()]


@pytest.mark.parametrize(("case", "layer", "index"), LAYERS)
def test_a_missing_norm_or_activation_would_be_seen(case: str, layer: str, index: int) -> None:
    assert max(distances(case, training=False, change=removed(layer, index))) > SEEN


@pytest.mark.parametrize(("case", "parameter"), PARAMETERS)
def test_every_weight_would_be_seen(case: str, parameter: str) -> None:
    # A bias of the keys shifts all similarities of a query alike, which the softmax cancels.
    expected = parameter != "position_attention.key.bias"
    assert (max(distances(case, training=False, change=shifted(parameter))) > SEEN) is expected


def rolled(layer: str) -> Callable[[nn.Module], None]:
    """The inputs that a fusion concatenates, in another order."""

    def change(head: nn.Module) -> None:
        weight = head.get_parameter(f"{layer}.0.weight")
        with torch.no_grad():
            weight.copy_(weight.roll(6, 1))

    return change


class Swapped(PositionAttention):
    """Softmax over the queries, not over the keys."""

    def forward(self, features: Tensor) -> Tensor:
        query, key, value = (layer(features).flatten(2) for layer in (self.query, self.key, self.value))
        weights = (query.transpose(1, 2) @ key).softmax(1)
        return self.gamma * (value @ weights.transpose(1, 2)).view_as(features) + features


def over_queries(head: nn.Module) -> None:
    swapped = Swapped(16, 2)
    swapped.load_state_dict(head.position_attention.state_dict())  # type: ignore[union-attr]
    head.position_attention = swapped


def of_the_last_grid_first(head: nn.Module) -> None:
    head.pools = nn.ModuleList(list(head.pools)[::-1])  # type: ignore[arg-type]


CHANGES: dict[str, list[Callable[[nn.Module], None]]] = {
    "upernet": [
        leaky, set_to("grids", (1, 2, 3, 5)), set_to("grids", (1, 2, 4, 6)), rolled("pyramid"), rolled("fuse"),
        exchanged("smooth.0", "smooth.1"), exchanged("smooth.1", "smooth.2"), of_the_last_grid_first,
    ],
    "danet": [
        leaky, over_queries, set_to("channel_attention", ChannelAttention(similar_channels=True)),
        exchanged("position_reduce", "channel_reduce"), exchanged("position_smooth", "channel_smooth"),
        exchanged("position_classifier", "channel_classifier"), exchanged("position_attention", "channel_attention"),
        exchanged("position_attention.query", "position_attention.key"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("case", "change"), [(case, change) for case, changes in CHANGES.items() for change in changes]
)
def test_any_change_would_be_seen(case: str, change: Callable[[nn.Module], None]) -> None:
    assert max(distances(case, training=False, change=change)) > SEEN


def test_another_channel_attention_differs_by_its_sign_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def similar(head: nn.Module) -> None:
        head.channel_attention.similar_channels = True

    def unsigned(head: nn.Module) -> None:
        similar(head)
        monkeypatch.setattr(Tensor, "softmax", lambda energy, dim: torch.softmax(-energy, dim))

    assert max(distances("danet", training=False, change=similar)) > SEEN
    assert distances("danet", training=False, change=unsigned)[2] <= 1e-5


def aligned(features: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(features, tuple(size), mode="bilinear", align_corners=True)


def nearest(features: Tensor, size: Sequence[int]) -> Tensor:
    return F.interpolate(features, tuple(size), mode="nearest")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("interpolation", [aligned, nearest])
def test_another_interpolation_would_be_seen(
    interpolation: Callable[..., Tensor], training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upernet, "_upsample", interpolation)
    assert max(distances("upernet", training=training)) > SEEN


@pytest.mark.parametrize("training", [False, True])
def test_convolutions_before_the_upsampling_would_be_seen(training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(head: UPerNet, features: Tensor) -> Tensor:
        pooled = [
            pool(F.adaptive_avg_pool2d(features, grid)) for pool, grid in zip(head.pools, head.grids, strict=True)
        ]
        up = [upernet._upsample(one, features.shape[2:]) for one in pooled]
        return head.pyramid(torch.cat([features, *up], 1))  # type: ignore[no-any-return]

    monkeypatch.setattr(UPerNet, "_pooled", first)
    assert max(distances("upernet", training=training)) > SEEN


def test_a_smoothed_running_sum_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(head: UPerNet, *stages: Tensor) -> Tensor:
        pyramid = [head._pooled(stages[-1])]
        for index in (2, 1, 0):
            features = head.lateral[index](stages[index])
            pyramid.insert(0, head.smooth[index](features + upernet._upsample(pyramid[0], features.shape[2:])))
        size = pyramid[0].shape[2:]
        return head.fuse(torch.cat([upernet._upsample(level, size) for level in pyramid], 1))  # type: ignore[no-any-return]

    monkeypatch.setattr(UPerNet, "forward", forward)
    assert max(distances("upernet", training=False)) > SEEN


def test_scaled_similarities_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_image_attention, "attend", lambda query, key, value, scale: attend(query, key, value))
    assert max(distances("danet", training=False)) > SEEN


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
        expected = F.cross_entropy(aligned(logits, (33, 41)), label.long(), ignore_index=255)
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


def test_upernet_starts_as_the_authors_network() -> None:
    torch.manual_seed(0)
    head = UPerNet((16, 16, 16, 64), 64)
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert torch.equal(part.weight, torch.ones_like(part.weight))
            assert torch.equal(part.bias, torch.full_like(part.bias, 1e-4))
    weight = head.fuse[0].weight.detach()
    assert float(weight.std()) == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.02)


def test_upernet_trains_on_one_image() -> None:
    head = UPerNet((4, 4, 4, 8), 4).train()
    stages = [torch.randn(1, channels, side, side) for channels, side in ((4, 16), (4, 8), (4, 4), (8, 2))]
    head(*stages).sum().backward()
    with pytest.raises(ValueError, match="more than 1 value"):  # a convolution before the upsampling could not
        conv_norm_act(8, 4).train()(torch.randn(1, 8, 1, 1))


@pytest.mark.parametrize(
    ("head", "levels", "stride", "auxiliary"), [("upernet", 4, 32, False), ("danet", 1, 8, False), ("ppm", 2, 8, True)]
)
def test_the_network_around_a_system(head: str, levels: int, stride: int, auxiliary: bool) -> None:
    config = compose(f"model/head={head}", "model/backbone=tiny", "model.head.out_channels=8")
    network = build_network(config, 5, auxiliary=bool(config.loss.auxiliary_weight)).eval()
    assert (network.auxiliary is not None) is auxiliary
    assert len(network.backbone(network.normalize(torch.zeros(1, 3, 64, 96)))) == levels
    assert network.backbone.feature_info.reduction()[-1] == stride  # type: ignore[operator, union-attr]
    assert network(torch.zeros(1, 3, 64, 96)).shape == (1, 5, 64, 96)


def test_the_weight_of_the_auxiliary_loss_can_be_set_for_every_head() -> None:
    assert compose("model/head=danet").loss.auxiliary_weight == 0
    assert compose("model/head=danet", "loss.auxiliary_weight=0.2").loss.auxiliary_weight == 0.2
    assert compose("model/head=ppm", "loss=ohem").loss.auxiliary_weight == 0.4
