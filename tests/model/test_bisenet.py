"""BiSeNet with the weights of its first author's module gives that module's outputs and gradients."""

import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, leaky, rolled_inputs
from golden_case import Classified, GoldenCase, GoldenTests, Patch, resampled
from torch import Tensor

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.head import bisenet
from ocnet_pl.model.head.bisenet import AttentionRefinement, BiSeNet, FeatureFusion


def outputs(system: Classified, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    features, extras = system.head.supervised(inputs["layer3"], inputs["layer4"], image=inputs["image"])  # type: ignore[operator, union-attr]
    return {
        "main": system.classifier(features),
        "aux_stride16": extras["context16"],
        "aux_stride8": extras["context8"],
    }


LAYERS = {
    "spatial_path.conv_7x7": "spatial_path.0", "spatial_path.conv_3x3_1": "spatial_path.1",
    "spatial_path.conv_3x3_2": "spatial_path.2", "spatial_path.conv_1x1": "spatial_path.3",
    "global_context.1": "global_context.reduce",
    "arms.0.conv_3x3": "refinement32.reduce", "arms.0.channel_attention.1": "refinement32.gate",
    "arms.1.conv_3x3": "refinement16.reduce", "arms.1.channel_attention.1": "refinement16.gate",
    "refines.0": "smooth16", "refines.1": "smooth8",
    "heads.0.conv_3x3": "classifier16.0", "heads.1.conv_3x3": "classifier8.0", "heads.2.conv_3x3": "reduce",
    "ffm.conv_1x1": "fusion.fuse",
}  # fmt: skip
PARTS = (("conv", 0), ("bn", 1))
NAMES = (
    {f"{theirs}.{part}": f"head.{mine}.{place}" for theirs, mine in LAYERS.items() for part, place in PARTS}
    | {f"ffm.channel_attention.{number}.conv": f"head.fusion.gate.{2 * number - 2}" for number in (1, 2)}
    | {"heads.0.conv_1x1": "head.classifier16.1", "heads.1.conv_1x1": "head.classifier8.1"}
    | {"heads.2.conv_1x1": "classifier"}
)


def without_its_sum(fusion: FeatureFusion, spatial: Tensor, context: Tensor) -> Tensor:
    fused = fusion.fuse(torch.cat([spatial, context], 1))
    return fused * fusion.gate(F.adaptive_avg_pool2d(fused, 1))  # type: ignore[no-any-return]


def from_the_maximum(refinement: AttentionRefinement, features: Tensor) -> Tensor:
    reduced = refinement.reduce(features)
    gate = refinement.gate(F.adaptive_max_pool2d(reduced, 1))
    return reduced * gate  # type: ignore[no-any-return]


class TestBiSeNet(GoldenTests):
    case = GoldenCase(
        "bisenet",
        lambda: Classified(BiSeNet((10, 12), 5, 8, context_channels=8, spatial_channels=6), 5),
        outputs,
        NAMES,
        weight_gradients=5,
        changes={
            "leaky": leaky,
            "context before space": rolled_inputs("head.fusion.fuse.0.weight", 8),
            "smoothing": exchanged("head.smooth16", "head.smooth8"),
            "classifiers": exchanged("head.classifier16", "head.classifier8"),
            "layers of the gate": exchanged("head.fusion.gate.0", "head.fusion.gate.2"),
            "corners not aligned": resampled(bisenet, "upsample", "bilinear", False),
            "nearest": resampled(bisenet, "upsample", "nearest"),
            "fusion without its sum": Patch(FeatureFusion, "forward", without_its_sum),
            "gate from the maximum": Patch(AttentionRefinement, "forward", from_the_maximum),
        },
    )


# Beyond the golden numbers.


def test_the_losses_of_the_context_path() -> None:
    torch.manual_seed(0)
    head = BiSeNet((6, 8), 3, 8, context_channels=4, spatial_channels=4, context_weight=0.5).train()
    stages, image = (torch.randn(2, 6, 3, 4), torch.randn(2, 8, 2, 2)), torch.randn(2, 3, 33, 49)
    features, extras = head.supervised(*stages, image=image)
    label = torch.randint(3, (2, 33, 49), dtype=torch.uint8)
    label[:, :9] = 255
    terms = head.losses(extras, {"label": label}, CrossEntropy())
    assert set(terms) == {"context16", "context8"}
    for name, logits in extras.items():
        up = F.interpolate(logits, (33, 49), mode="bilinear", align_corners=True)
        torch.testing.assert_close(terms[name], 0.5 * F.cross_entropy(up, label.long(), ignore_index=255))
    assert compose("model/head=bisenet").model.head.context_weight == 1

    ignored = head.losses(extras, {"label": torch.full_like(label, 255)}, CrossEntropy())
    (torch.stack(list(ignored.values())).sum() + 0 * features.sum()).backward()
    assert all(term.item() == 0 for term in ignored.values())
    assert all(p.grad is not None for p in head.parameters()), "another process waits for every gradient"


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (57, 70)])
def test_images_of_any_size(size: tuple[int, int]) -> None:
    config = compose("model/head=bisenet", "model/backbone=tiny", "model.head.out_channels=8")
    network = build_network(config, 5, auxiliary=False).eval()
    with torch.no_grad():
        assert network.map_logits(torch.zeros(1, 3, *size)).shape[2:] == tuple(-(-side // 8) for side in size)
        assert network(torch.zeros(1, 3, *size)).shape == (1, 5, *size)


def test_the_spatial_path_reads_what_the_backbone_reads() -> None:
    config = compose("model/head=bisenet", "model/backbone=tiny", "model.head.out_channels=8", "model.bgr=true")
    network = build_network(config, 5, auxiliary=False).eval()
    image = torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8)
    seen: list[Tensor] = []
    network.head.spatial_path.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))  # type: ignore[union-attr, operator]
    with torch.no_grad():
        network(image)
        network.supervised(image)
    assert len(seen) == 2
    for given in seen:
        torch.testing.assert_close(given, network.normalize(image), rtol=0, atol=0)


def test_initial_values() -> None:
    torch.manual_seed(0)
    head = BiSeNet((64, 64), 5, 64, context_channels=64)
    weight = head.smooth8[0].weight.detach()
    assert float(weight.std()) == pytest.approx((2 / weight[0].numel()) ** 0.5, rel=0.02)


def test_one_image_cannot_train() -> None:
    head = BiSeNet((6, 8), 3, 8).train()
    with pytest.raises(UserError, match="at least 2 images"):
        head(torch.randn(1, 6, 4, 4), torch.randn(1, 8, 2, 2), image=torch.randn(1, 3, 64, 64))


def test_parameters_on_resnet101() -> None:
    head = BiSeNet((1024, 2048), 19)
    spatial = 64 * 3 * 49 + 2 * 64 * 64 * 9 + 64 * 128 + 2 * (3 * 64 + 128)
    context = 128 * (2048 + 9 * (2048 + 1024)) + 2 * 128 * 128 + 2 * 128 * 128 * 9 + 2 * 128 * 7
    fusion = 3 * 256 * 256 + 2 * 256
    classifiers = 2 * (128 * 256 * 9 + 2 * 256 + 257 * 19) + 256 * 256 * 9 + 2 * 256
    assert sum(p.numel() for p in head.parameters()) == spatial + context + fusion + classifiers
