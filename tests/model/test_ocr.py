"""OCR with the weights of the authors' module gives its outputs and gradients."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, leaky, rolled_inputs, without
from golden_case import Classified, GoldenCase, GoldenTests, Patch
from head_configs import every_position, parameters_of
from head_configs import head as head_of
from torch import Tensor, nn

from ocnet_pl.build import build_bare_module, build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.model.attention import attend
from ocnet_pl.model.head import ocr
from ocnet_pl.model.head.ocr import OCR, region_features, region_weights
from ocnet_pl.predictor import Predictor

BLOCK = "spatial_ocr_head.object_context_block"


def outputs(system: Classified, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    features, auxiliary = inputs["features"], inputs["aux_logits"]
    reduced = system.head.reduce(features)  # type: ignore[operator, union-attr]
    regions = region_features(reduced, region_weights(reduced, auxiliary))
    return {"logits": system(features, auxiliary=auxiliary), "regions": regions}


def over_queries(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT * key.shape[2] ** -0.5).softmax(1) @ value


def scaled(scale: float) -> Patch:
    return Patch(ocr, "attend", lambda query, key, value: attend(query, key, value, scale))


class TestOCR(GoldenTests):
    case = GoldenCase(
        "ocr",
        lambda: Classified(OCR(24, 12, dropout=0.0), 5),
        outputs,
        {
            "conv_3x3.0": "head.reduce.0", "conv_3x3.1.0": "head.reduce.1", "head": "classifier",
            **{
                f"{BLOCK}.{theirs}.{layer}": f"head.{mine}.{place}"
                for theirs, mine in (("f_pixel", "query"), ("f_object", "key"))
                for layer, place in (("0", "0.0"), ("1.0", "0.1"), ("2", "1.0"), ("3.0", "1.1"))
            },
            f"{BLOCK}.f_down.0": "head.value.0", f"{BLOCK}.f_down.1.0": "head.value.1",
            f"{BLOCK}.f_up.0": "head.project.0", f"{BLOCK}.f_up.1.0": "head.project.1",
            "spatial_ocr_head.conv_bn_dropout.0": "head.fuse.0", "spatial_ocr_head.conv_bn_dropout.1.0": "head.fuse.1",
        },
        changes={
            "leaky": leaky,
            "one layer for the query": without("head.query.1"),
            "one layer for the key": without("head.key.1"),
            "inputs of the fusion": rolled_inputs("head.fuse.0.weight", 12),
            "query and key": exchanged("head.query", "head.key"),
            "softmax over the classes": Patch(ocr, "region_weights", lambda features, logits: logits.softmax(1)),
            "softmax over the queries": Patch(ocr, "attend", over_queries),
            "no scale": scaled(1.0),
            "scale of all channels": scaled(12**-0.5),
        },
    )  # fmt: skip

    def test_detached_regions_would_be_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ocr, "region_weights", lambda features, logits: region_weights(features, logits.detach()))
        with pytest.raises(AssertionError):
            self.case.assert_gradients()


# Beyond the golden numbers.


def test_parameters() -> None:
    assert parameters_of(head_of("ocr", 2048, 19)) + parameters_of(nn.Conv2d(512, 19, 1)) == 10_635_027


@torch.no_grad()
def test_rows_times_features_are_the_attended_regions() -> None:
    """With identity in place of the value transform: regions are sums over positions, and so is what they give."""
    torch.manual_seed(0)
    head = OCR(8, 6, key_channels=6).eval()
    head.value = nn.Identity()
    features, auxiliary = torch.randn(1, 8, 4, 5), 3 * torch.randn(1, 3, 4, 5)
    seen: list[Tensor] = []
    head.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(features, auxiliary=auxiliary)
    ((attention, reduced),) = head.attended(features, auxiliary=auxiliary)
    torch.testing.assert_close(reduced, head.reduce(features))
    rows = attention.rows(reduced, every_position(4, 5))
    torch.testing.assert_close(torch.einsum("phw,chw->cp", rows, reduced[0]).view(6, 4, 5), seen[0][0])
    torch.testing.assert_close(rows.sum((1, 2)), torch.ones(20))
    assert attention.name == "object regions"
    assert attention.size(reduced) == (4, 5)
    assert attention.reach(2, 1, (4, 5)).all()


@torch.no_grad()
def test_regions_survive_half_precision() -> None:
    """A large map has small weights, and every region sums to 1."""
    features = 100 + torch.randn(1, 4, 97, 97, generator=torch.Generator().manual_seed(0))
    logits = torch.randn(1, 3, 97, 97, generator=torch.Generator().manual_seed(1))
    exact = region_features(features, region_weights(features, logits))
    with torch.autocast("cpu", torch.bfloat16):
        weights = region_weights(features.bfloat16(), logits.bfloat16())
        regions = region_features(features.bfloat16(), weights)
    assert weights.dtype == torch.float32
    assert regions.dtype == torch.bfloat16
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(1, 3))
    torch.testing.assert_close(regions.float(), exact, rtol=1e-2, atol=0)


def test_logits_of_another_stride_are_resized() -> None:
    features, logits = torch.randn(2, 8, 5, 7), torch.randn(2, 3, 9, 13)
    larger = F.interpolate(logits, (5, 7), mode="bilinear", align_corners=True)
    torch.testing.assert_close(region_weights(features, logits), region_weights(features, larger))


@pytest.mark.parametrize("weight", [0, 0.4])
def test_the_auxiliary_classifier_learns_from_the_main_loss(weight: float) -> None:
    config = compose("model/head=ocr", "model/backbone=tiny", "model.head.out_channels=8")
    config.loss.auxiliary_weight = weight
    module = build_bare_module(config, 5).train()
    label = torch.full((2, 64, 64), 255)
    label[:, :, ::3] = 2
    terms = module.terms({"image": torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8), "label": label})
    assert set(terms) == ({"main", "auxiliary"} if weight else {"main"})
    terms["main"].backward()
    for name, parameter in module.network.named_parameters():
        assert parameter.grad is not None, name
    assert module.network.auxiliary[2].weight.grad.any()


def test_the_predictor_shows_the_regions() -> None:
    network = build_network(compose("model/head=ocr", "model/backbone=tiny", "model.head.out_channels=8"), 5)
    image = np.random.default_rng(0).integers(0, 256, (40, 72, 3), dtype=np.uint8)
    maps = Predictor(network).object_context(image, [(0, 0), (71, 39)])
    assert maps.shape == (2, 1, 40, 72)
    np.testing.assert_allclose(maps.sum((2, 3)), 1, rtol=1e-5)
