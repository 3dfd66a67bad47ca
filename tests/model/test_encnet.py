"""EncNet with the weights of the authors' module gives its outputs, gradients, losses and targets."""

import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, leaky, rolled_inputs
from golden_case import Classified, GoldenCase, GoldenTests, Patch
from golden_numbers import assert_gradient, golden_file
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.head import encnet
from ocnet_pl.model.head.encnet import EncNet, EncNetLateral, Encoding, presence_target

NAMES = {
    "conv5": "head.reduce", "connect": "head.lateral", "fusion": "head.fuse", "encmodule.encoding.3": "head.encoding",
    "encmodule.encoding.4": "head.norm", "encmodule.encoding": "head.prepare", "encmodule.fc.0": "head.gate",
    "encmodule.selayer": "head.presence", "conv6.1": "classifier",
}  # fmt: skip
"""The authors' names of layers and ours."""


def outputs(system: Classified, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    features, extras = system.head.supervised(*inputs.values())  # type: ignore[operator, union-attr]
    return {"logits": system.classifier(features), **extras}


def outputs_and_code(system: Classified, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    found, head = outputs(system, inputs), system.head
    assert isinstance(head, EncNet)
    reduced = head.features(*inputs.values())
    return found | {"encoding": head.encoding(head.prepare(reduced)), "pooled": head.code(reduced)}


def test_the_losses() -> None:
    golden = golden_file("encnet_loss")
    inputs = {name: golden[name].requires_grad_() for name in ("logits", "aux", "presence")}
    label = golden["target"].to(torch.uint8)
    assert (label == 255).any()
    assert torch.equal(presence_target(label, 5), golden["presence_target"])
    head, criterion = EncNet(4, 5, 4), CrossEntropy()
    (term,) = head.losses({"presence": inputs["presence"]}, {"label": label}, criterion).values()
    torch.testing.assert_close(term, 0.2 * golden["presence_loss"][0])
    total = criterion(inputs["logits"], label.long()) + 0.2 * criterion(inputs["aux"], label.long()) + term
    torch.testing.assert_close(total, golden["total_aux02_se02"][0], rtol=1e-5, atol=0)
    total.backward()
    for name, value in inputs.items():
        assert_gradient(value.grad, golden[f"grad_{name}"])
    other = EncNet(4, 5, 4, presence_weight=0.1)
    (lighter,) = other.losses({"presence": inputs["presence"]}, {"label": label}, criterion).values()
    torch.testing.assert_close(2 * lighter, term)


# Any change would be seen.


def over_positions(encoding: Encoding, features: Tensor) -> Tensor:
    tokens = features.flatten(2)
    weights = (encoding.scale[:, None] * encoding._distances(tokens)).softmax(2)
    return weights @ tokens.transpose(1, 2) - weights.sum(2, keepdim=True) * encoding.codewords


def mean_over_positions(encoding: Encoding, features: Tensor) -> Tensor:
    return plain_encoding(encoding, features) / features.flatten(2).shape[2]


def of_features_alone(encoding: Encoding, features: Tensor) -> Tensor:
    tokens = features.flatten(2)
    return (encoding.scale[:, None] * encoding._distances(tokens)).softmax(1) @ tokens.transpose(1, 2)


def plain_encoding(encoding: Encoding, features: Tensor) -> Tensor:
    """The definition, with all residuals in memory."""
    residuals = features.flatten(2).transpose(1, 2).unsqueeze(2) - encoding.codewords  # (B, N, K, D)
    weights = (encoding.scale * residuals.square().sum(3)).softmax(2)
    return (weights.unsqueeze(3) * residuals).sum(1)


def without_sign(encoding: Encoding, features: Tensor) -> Tensor:
    residuals = features.flatten(2).transpose(1, 2).unsqueeze(2) - encoding.codewords
    weights = (-encoding.scale * residuals.square().sum(3)).softmax(2)
    return (weights.unsqueeze(3) * residuals).sum(1)


def sum_over_codewords(head: EncNet, features: Tensor) -> Tensor:
    return head.activation(head.norm(head.encoding(head.prepare(features)))).sum(1)


def activation_last(head: EncNet, features: Tensor) -> Tensor:
    return head.activation(head.norm(head.encoding(head.prepare(features))).mean(1))


def gated(gated: str) -> Patch:
    def changed(head: EncNet, *maps: Tensor) -> tuple[Tensor, Tensor]:
        features = head.features(*maps)
        code = head.code(features)
        gate = head.gate(code).sigmoid()[:, :, None, None]
        if gated == "prepared":
            features = head.prepare(features)
        return features * gate if gated == "no residual" else features + features * gate, code

    return Patch(EncNet, "_gated", changed)


class TestEncNet(GoldenTests):
    case = GoldenCase(
        "encnet",
        lambda: Classified(EncNet(32, 5, 16, codewords=6, dropout=0.0), 5),
        outputs_and_code,
        NAMES,
        weight_gradients=4,
        changes={
            "leaky": leaky,
            "norms": exchanged("head.reduce.1", "head.prepare.1"),
            "softmax over positions": Patch(Encoding, "forward", over_positions),
            "mean over positions": Patch(Encoding, "forward", mean_over_positions),
            "encoding of features alone": Patch(Encoding, "forward", of_features_alone),
            "no sign": Patch(Encoding, "forward", without_sign),
            "sum over codewords": Patch(EncNet, "code", sum_over_codewords),
            "activation last": Patch(EncNet, "code", activation_last),
            "gated preparation": gated("prepared"),
            "gate without residual": gated("no residual"),
        },
    )


class TestEncNetLateral(GoldenTests):
    case = GoldenCase(
        "encnet",
        lambda: Classified(EncNetLateral((16, 24, 32), 5, 16, codewords=6, dropout=0.0), 5),
        outputs,
        NAMES,
        prefix="lateral/",
        weight_gradients=4,
        changes={
            "leaky": leaky,
            "inputs of the fusion": rolled_inputs("head.fuse.0.weight", 16),
            "norms": exchanged("head.reduce.1", "head.prepare.1"),
            "norms of lateral layers": exchanged("head.lateral.0.1", "head.lateral.1.1"),
        },
    )


# Beyond the golden numbers.


def test_the_encoding_is_its_definition_without_the_residuals() -> None:
    torch.manual_seed(0)
    encoding, features = Encoding(48, 7), 2 + torch.rand(2, 48, 20, 21)
    features.requires_grad_()
    sizes: list[int] = []

    def seen(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    expected = plain_encoding(encoding, features)
    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
        output = encoding(features)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-3)
    assert max(sizes) == features.numel()
    seed = torch.randn_like(output)
    inputs = (features, encoding.codewords, encoding.scale)
    for ours_, theirs in zip(
        torch.autograd.grad(output, inputs, seed), torch.autograd.grad(expected, inputs, seed), strict=True
    ):
        assert_gradient(ours_, theirs)


@torch.no_grad()
def test_the_code_survives_half_precision() -> None:
    head = EncNet(8, 3, 16).eval()
    features = 30 * torch.rand(1, 16, 97, 97, generator=torch.Generator().manual_seed(0))
    prepared = head.prepare(features)
    exact = head.encoding(prepared)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head.encoding(prepared), exact, rtol=0, atol=0)
        assert head.code(features).dtype == torch.float32
        assert head(torch.rand(1, 8, 5, 6)).isfinite().all()


@pytest.mark.parametrize(("head", "millions"), [(EncNet(2048, 19), 10.0), (EncNetLateral((512, 1024, 2048), 19), 17.9)])
def test_parameters_at_the_papers_width(head: EncNet, millions: float) -> None:
    count = sum(p.numel() for p in head.parameters()) + 512 * 19 + 19
    assert count == pytest.approx(millions * 1e6, abs=0.05e6)


def test_initial_values() -> None:
    torch.manual_seed(0)
    encoding = Encoding(512, 32)
    bound = (32 * 512) ** -0.5
    assert 0.95 * bound < encoding.codewords.abs().max() <= bound
    assert -1 <= encoding.scale.min() < encoding.scale.max() <= 0


def test_classes_are_present_in_each_image_for_itself() -> None:
    label = torch.tensor([[[0, 2], [2, 255]], [[255, 255], [255, 255]], [[1, 7], [1, 1]]], dtype=torch.uint8)
    assert presence_target(label, 3).tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_every_parameter_gets_a_gradient_without_a_labelled_pixel() -> None:
    head = EncNet(8, 3, 16).train()
    features, extras = head.supervised(torch.randn(2, 8, 5, 6))
    label = torch.full((2, 33, 41), 255, dtype=torch.uint8)
    (term,) = head.losses(extras, {"label": label}, CrossEntropy()).values()
    expected = F.softplus(extras["presence"]).mean()  # no class occurs
    torch.testing.assert_close(term, 0.2 * expected)
    (0 * features.sum() + term).backward()
    assert all(p.grad is not None for p in head.parameters()), "another process waits for every gradient"


def test_dropout_drops_single_values() -> None:
    features = EncNet(8, 3, 16, dropout=0.5).train()(torch.randn(2, 8, 9, 9))
    assert ((features != 0).any(3).any(2)).all()
    assert type(encnet.EncNet(8, 3, 16).dropout) is nn.Dropout


def test_the_network_around_lateral_connections() -> None:
    config = compose("model/head=encnet_lateral", "model/backbone=tiny", "model.head.out_channels=8")
    network = build_network(config, 5).eval()
    assert len(network.backbone(network.normalize(torch.zeros(1, 3, 64, 96)))) == 3
    assert network(torch.zeros(1, 3, 57, 93)).shape == (1, 5, 57, 93)
