"""CE2P with the weights of its authors' module gives that module's outputs and gradients; its losses give theirs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, rolled_inputs, with_slope
from golden_case import Classified, GoldenCase, GoldenTests, Patch, resampled
from golden_numbers import assert_gradient, golden_file
from head_configs import head as head_of
from head_configs import maps
from test_heads import randomize
from torch import Tensor, nn

from ocnet_pl.arguments import ArgumentError
from ocnet_pl.build import build_bare_module, build_network
from ocnet_pl.build_head import build_head
from ocnet_pl.config.compose import compose
from ocnet_pl.counting import confusion_matrix
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.errors import UserError
from ocnet_pl.inference import WholeImage
from ocnet_pl.logits import MapLogits
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model import layers
from ocnet_pl.model.contract import Attending, Supervised
from ocnet_pl.model.edges import balanced_cross_entropy
from ocnet_pl.model.head import ce2p
from ocnet_pl.model.head.ce2p import CE2P
from ocnet_pl.model.head.gp import GP

WIDTHS = (6, 8, 10, 12)


def build() -> Classified:
    """The head in the form of 2019."""
    form: dict[str, Any] = {"negative_slope": 0.01, "dropout": 0.0}
    return Classified(CE2P(WIDTHS, 6, 7, pyramid_channels=8, detail_channels=4, edge_channels=5, **form), 6)


def outputs(system: Classified, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    features, extras = system.head.supervised(*inputs.values())  # type: ignore[operator, union-attr]
    return {"seg1": extras["decoder"], "seg2": system.classifier(features), "edge": extras["edge"]}


NAMES = {
    **{f"layer5.stages.{number}.1": f"head.context.pools.{number}.reduce.0" for number in range(4)},
    **{f"layer5.stages.{number}.2.0": f"head.context.pools.{number}.reduce.1" for number in range(4)},
    "layer5.bottleneck.0": "head.context.fuse.0", "layer5.bottleneck.1.0": "head.context.fuse.1",
    **{f"edge_layer.conv{number}.0": f"head.edge.reduce.{number - 1}.0" for number in (1, 2, 3)},
    **{f"edge_layer.conv{number}.1.0": f"head.edge.reduce.{number - 1}.1" for number in (1, 2, 3)},
    "edge_layer.conv4": "head.edge.classifier", "edge_layer.conv5": "head.edge.fuse",
    "layer6.conv1.0": "head.reduce.0", "layer6.conv1.1.0": "head.reduce.1",
    "layer6.conv2.0": "head.detail.0", "layer6.conv2.1.0": "head.detail.1",
    "layer6.conv3.0": "head.decode.0", "layer6.conv3.1.0": "head.decode.1",
    "layer6.conv3.2": "head.decode.3", "layer6.conv3.3.0": "head.decode.4",
    "layer6.conv4": "head.classifier",
    "layer7.0": "head.fuse.0", "layer7.1.0": "head.fuse.1", "layer7.3": "classifier",
}  # fmt: skip


def classified_after_the_upsampling(branch: ce2p.EdgeBranch, reduced: list[Tensor]) -> Tensor:
    size = reduced[0].shape[-2:]
    classified = [branch.classifier(ce2p.upsample(one, size)) for one in reduced]
    return branch.fuse(torch.cat(classified, 1))  # type: ignore[no-any-return]


class TestCE2P(GoldenTests):
    case = GoldenCase(
        "ce2p",
        build,
        outputs,
        NAMES,
        # Theirs reads the pools first, then the features; ours the features first.
        reordered={"layer5.bottleneck.0.weight": lambda weight: weight.roll(12, 1)},
        weight_gradients=5,
        changes={
            **{
                f"ReLU in {part}": with_slope(0.0, f"head.{part}")
                for part in ("context", "reduce", "detail", "decode", "edge", "fuse")
            },
            **{
                f"pools {one} and {one + 1}": exchanged(f"head.context.pools.{one}", f"head.context.pools.{one + 1}")
                for one in range(3)
            },
            **{
                f"inputs of {layer} by {channels}": rolled_inputs(f"head.{layer}.weight", channels)
                for layer, of_layer in {
                    "context.fuse.0": (8, 12), "decode.0": (4, 7), "edge.fuse": (2, 4), "fuse.0": (5, 7, 15),
                }.items()
                for channels in of_layer
            },
            "classifiers": exchanged("classifier", "head.classifier"),
            **{
                f"{mode} in {module.__name__}": resampled(module, "upsample", mode)
                for module in (ce2p, layers)
                for mode in ("bilinear", "nearest")
            },
            "edges classified after the upsampling": Patch(ce2p.EdgeBranch, "logits", classified_after_the_upsampling),
        },
    )  # fmt: skip


# Losses.


def head(**options: Any) -> CE2P:
    torch.manual_seed(0)
    narrow: dict[str, Any] = {"pyramid_channels": 4, "detail_channels": 3, "edge_channels": 4}
    return CE2P(WIDTHS, 6, 5, **narrow | options).train()


def stages(batch: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    sides = zip(WIDTHS, (17, 9, 5, 5), strict=True)
    return [torch.randn(batch, channels, side, side + 2, generator=generator) for channels, side in sides]


def losses(**options: Any) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Loss terms at the authors' logits, the logits, and the golden numbers."""
    golden = golden_file("ce2p_losses")
    logits = {"decoder": golden["seg1"], "edge": golden["edge_logits"], "main": golden["seg2"]}
    logits = {name: one.requires_grad_() for name, one in logits.items()}
    terms = head(**options).losses(logits, {"label": golden["label"].to(torch.uint8)}, CrossEntropy())
    up = F.interpolate(logits["main"], golden["label"].shape[-2:], mode="bilinear", align_corners=True)
    return terms | {"main": CrossEntropy()(up, golden["label"].long())}, logits, golden


THEIR_NAMES = {"decoder": "seg1", "main": "seg2", "edge": "edge_logits"}


def test_losses_and_their_gradients_are_the_authors() -> None:
    terms, logits, golden = losses()
    torch.stack(list(terms.values())).sum().backward()
    for name, theirs in THEIR_NAMES.items():
        torch.testing.assert_close(terms[name], golden[f"part/{theirs.removesuffix('_logits')}"], rtol=1e-5, atol=0)
        assert_gradient(logits[name].grad, golden[f"grad/{theirs}"], theirs)
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(), golden["loss"], rtol=1e-5, atol=0)


def distance_of_losses(**options: Any) -> float:
    terms, _, golden = losses(**options)
    return abs(float(torch.stack(list(terms.values())).sum().detach() / golden["loss"]) - 1)


@pytest.mark.parametrize("option", ["decoder_weight", "edge_weight"])
def test_another_weight_of_a_loss_would_be_seen(option: str) -> None:
    assert distance_of_losses() <= 1e-5
    assert distance_of_losses(**{option: 1.01}) > 1e-4


@pytest.mark.parametrize("width", [1, 5])
def test_another_width_of_edges_would_be_seen(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ce2p, "_EDGE_WIDTH", width)
    assert distance_of_losses() > 1e-4


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits, edges: F.cross_entropy(logits, edges.long()),
        lambda logits, edges: balanced_cross_entropy(logits, ~edges),
        lambda logits, edges: F.cross_entropy(logits, edges.long(), torch.stack([1 - edges.float().mean()] * 2)),
        lambda logits, edges: balanced_cross_entropy(logits.flip(1), edges),
    ],
)
def test_another_loss_of_edges_would_be_seen(
    loss: Callable[[Tensor, Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ce2p, "balanced_cross_entropy", loss)
    assert distance_of_losses() > 1e-4


def test_balanced_cross_entropy_is_a_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 7, generator=generator)
    edges = torch.rand(2, 5, 7, generator=generator) > 0.8
    share = float(edges.float().mean())
    expected = F.cross_entropy(logits, edges.long(), torch.tensor([share, 1 - share]))
    torch.testing.assert_close(balanced_cross_entropy(logits, edges), expected)
    half = balanced_cross_entropy(logits.bfloat16(), edges)
    assert half.dtype == torch.float32


@pytest.mark.parametrize("value", [False, True])
def test_without_both_kinds_of_pixels_there_is_no_edge_loss(value: bool) -> None:
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = balanced_cross_entropy(logits, torch.full((1, 4, 4), value))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize("label", [255, 3])
def test_a_crop_without_edges_gives_every_gradient(label: int) -> None:
    built = head()
    features, extras = built.supervised(*stages())
    terms = built.losses(extras, {"label": torch.full((2, 65, 73), label, dtype=torch.uint8)}, CrossEntropy())
    assert terms["edge"] == 0
    (torch.stack(list(terms.values())).sum() + features.mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


# Form, size and context module.


def test_the_forms_of_2018_and_2019() -> None:
    def slopes(part: nn.Module) -> set[float]:
        return {module.negative_slope for module in part.modules() if isinstance(module, nn.LeakyReLU)}

    forms = [head_of("ce2p", 16), head_of("ce2p", 16, negative_slope=0.01, dropout=0.1)]
    for built, slope, dropout in zip(forms, (0.0, 0.01), (0.0, 0.1), strict=True):
        assert slopes(built.context) == {0.01}  # type: ignore[arg-type]
        parts = [built.reduce, built.detail, built.decode, built.edge, built.fuse]
        assert [slopes(part) for part in parts] == [{slope}] * 5  # type: ignore[arg-type]
        assert (built.dropout.p, built.context.dropout.p) == (dropout, 0)  # type: ignore[union-attr]


def test_testing_leaves_edges_unclassified() -> None:
    built = head().eval()
    called: list[nn.Module] = []
    for part in (built.classifier, built.edge.classifier, built.edge.fuse):
        part.register_forward_hook(lambda module, *_: called.append(module))
    built(*stages())
    assert not called
    built.supervised(*stages())
    assert len(called) == 5


CHANNELS = (256, 512, 1024, 2048)
PYRAMID = 4 * (2048 * 512 + 2 * 512) + 9 * 4096 * 512 + 2 * 512
EDGES = (256 + 512 + 1024) * 256 + 3 * 2 * 256 + 9 * 256 * 2 + 2 + 6 * 2 + 2


def decoding(width: int) -> int:
    """Parameters of decoder and fusion on a context of this width, for 20 classes."""
    decoder = width * 256 + 256 * 48 + 304 * 256 + 256 * 256 + 2 * (256 + 48 + 256 + 256)
    return decoder + 1024 * 256 + 2 * 256 + 257 * 20


def test_parameters_on_resnet101() -> None:
    with torch.device("meta"):
        built, within = head_at_2048("ce2p"), head_at_2048("ce2p_asp_oc")
        alone = head_of("asp_oc", 2048)
    assert built == PYRAMID + EDGES + decoding(512)
    assert within == sum(p.numel() for p in alone.parameters()) + EDGES + decoding(512)


def head_at_2048(name: str) -> int:
    config = compose(f"model/head={name}")
    built = build_head(config.model.head, dict(zip(range(-4, 0), CHANNELS, strict=True)), {"num_classes": 20})
    return sum(p.numel() for p in built.parameters())


CONTEXTS = ["gp", "base_oc", "pyramid_oc", "asp_oc", "danet", "encnet", "psanet", "isa"]


def config_with(context: str, *overrides: str) -> Any:
    chosen = f"model/head@model.head.context={context}"
    narrow = ("model/backbone=tiny", "model.head.out_channels=8", "model.head.edge_channels=4")
    return compose("model/head=ce2p_asp_oc", chosen, *narrow, *overrides)


@pytest.mark.parametrize("width", [8, 12])
@pytest.mark.parametrize("context", CONTEXTS)
def test_any_head_on_the_last_stage_is_a_context_module(context: str, width: int) -> None:
    config = config_with(context, f"model.head.context.out_channels={width}", "dataset.crop_size=[64,64]")
    assert config.model.head.label == f"CE2P + {compose(f'model/head={context}').model.head.label}"
    module = build_bare_module(config, 5).train()
    built = module.network.head
    assert built.reduce[0].in_channels == built.context.out_channels  # type: ignore[index, union-attr]
    image = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    label = torch.randint(5, (2, 8, 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
    terms = module.terms({"image": image, "label": label})
    own = {f"context_{name}" for name in terms_of(built.context)}  # type: ignore[arg-type]
    assert terms.keys() == {"main", "decoder", "edge"} | own
    assert bool(own) == (context in ("danet", "encnet"))
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None for p in module.parameters())
    assert isinstance(built, Attending) is (context in ("base_oc", "pyramid_oc", "asp_oc", "danet", "psanet", "isa"))


def terms_of(context: nn.Module) -> set[str]:
    if not isinstance(context, Supervised):
        return set()
    features = torch.randn(2, context.get_parameter(first(context)).shape[1], 4, 4)
    _, extras = context.supervised(features)
    return set(context.losses(extras, {"label": torch.zeros(2, 4, 4, dtype=torch.uint8)}, CrossEntropy()))


def first(module: nn.Module) -> str:
    return next(name for name, parameter in module.named_parameters() if parameter.ndim == 4)


@torch.no_grad()
def test_its_attention_is_that_of_the_context_module() -> None:
    built = head_of("ce2p_asp_oc").eval()
    randomize(built)
    inputs = maps(built, (9, 13), batch=1)
    ((attention, features),) = built.attended(*inputs)  # type: ignore[operator]
    ((expected, same),) = built.context.attended(inputs[-1])  # type: ignore[operator, union-attr]
    assert attention is expected
    assert torch.equal(features, same)
    assert not isinstance(head_of("ce2p"), Attending)


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ("dfn", "reads other stages"), ("ocr", "auxiliary classifier"), ("duc", "returns logits"),
        ("sac", "backbone_scale_adaptive"), ("ce2p_asp_oc", "reads other stages"),
    ],
)  # fmt: skip
def test_other_heads_are_refused_in_one_line(context: str, reason: str) -> None:
    with pytest.raises(UserError) as refused:
        build_network(config_with(context), 5)
    assert str(refused.value).startswith("model.head.context: ")
    assert reason in str(refused.value)
    assert "model/head@model.head.context=asp_oc" in str(refused.value)


def test_a_head_that_needs_targets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GP, "needed_targets", {"pose": (16, 3)}, raising=False)
    with pytest.raises(UserError, match=r"^model\.head\.context: GP .*learns from targets"):
        build_network(config_with("gp"), 5)


def test_a_loss_that_a_head_brings_comes_with_its_context_module() -> None:
    module = build_bare_module(config_with("aaf", "model.head.context.out_channels=8"), 5)
    assert list(module.additional_losses) == ["affinity"]
    assert module.network.head.context.out_channels == 8  # type: ignore[union-attr]


def test_an_argument_of_the_context_module_is_refused_by_its_place() -> None:
    with pytest.raises(UserError, match=r"^model\.head\.context\.mask_size"):
        build_network(config_with("psanet", "model.head.context.mask_size=[x]"), 5)


def test_a_width_of_a_pyramid_that_is_not_there_is_refused() -> None:
    with pytest.raises(ArgumentError, match="pyramid_channels=64"):
        head(context=nn.Identity(), pyramid_channels=64)


# Left and right.


def symmetric(network: nn.Module, pairs: list[tuple[int, int]]) -> nn.Module:
    """The network with kernels that are their own mirror images, and the same weights for left and right."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_((module.weight + module.weight.flip(-1)) / 2)
        for parameter in network.classifier.parameters():  # type: ignore[union-attr]
            for left, right in pairs:
                parameter[right] = parameter[left]
    return network.eval()


def mirrored(label: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    table = torch.arange(256)
    for left, right in pairs:
        table[[left, right]] = table[[right, left]]
    return table[label.flip(-1)]


def scored(network: nn.Module, protocol: WholeImage, image: Tensor, label: Tensor) -> Tensor:
    """Pixels of each class (a row) that are predicted as each class."""
    return confusion_matrix(protocol(network, image).labels(), label, 20)


@pytest.mark.parametrize("head", ["ce2p", "ce2p_asp_oc"])
@torch.no_grad()
def test_mirrored_images_have_the_same_score(head: str) -> None:
    """Sides of 16k + 1 have a middle at every stride."""
    pairs = [(left, right) for left, right in LIP.mirror_pairs]
    generator = torch.Generator().manual_seed(0)
    overrides = ("model/backbone=resnet18", "model.backbone.pretrained=false", "model.head.out_channels=8")
    network = build_network(compose(f"model/head={head}", *overrides), 20)
    randomize(network.head)
    image = torch.randint(256, (2, 3, 65, 81), generator=generator, dtype=torch.uint8)
    network.eval().classifier.bias -= network(image).mean((0, 2, 3))  # so that many classes are predicted
    label = torch.randint(20, (2, 65, 81), generator=generator)
    other_image, other_label = image.flip(-1), mirrored(label, pairs)
    swap = mirrored(torch.arange(20).flip(0), pairs)  # each class's partner

    flip = WholeImage(flip=True, mirror_pairs=pairs)
    straight, other = (scored(network, flip, *pair) for pair in ((image, label), (other_image, other_label)))
    assert len(set(flip(network, image).labels().flatten().tolist())) > 5
    assert torch.equal(other, straight[swap][:, swap])
    unswapped = WholeImage(flip=True)
    straight, other = (scored(network, unswapped, *pair) for pair in ((image, label), (other_image, other_label)))
    assert not torch.equal(other, straight[swap][:, swap]), "without the exchange of channels"

    symmetric(network, pairs)
    mirrored_back = MapLogits(network(image)).resized((65, 81), mirror_pairs=pairs).whole()
    torch.testing.assert_close(network(other_image), mirrored_back, rtol=1e-4, atol=1e-4)
