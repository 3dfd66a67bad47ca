"""UPerNet with the weights of the authors' module gives that module's outputs and gradients."""

import pytest
import torch
import torch.nn.functional as F
from changes import exchanged, leaky, rolled_inputs, set_to
from golden_case import Classified, GoldenCase, GoldenTests, Patch, resampled
from golden_numbers import SEEN
from torch import Tensor, nn

from ocnet_pl.model.head import upernet
from ocnet_pl.model.head.upernet import UPerNet
from ocnet_pl.model.layers import conv_norm_act


def outputs(system: Classified, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    logits = system(*inputs.values())
    return {"logits": logits, "log_softmax": logits.log_softmax(1)}


def of_the_last_grid_first(system: nn.Module) -> None:
    head = system.get_submodule("head")
    head.pools = nn.ModuleList(list(head.pools)[::-1])  # type: ignore[arg-type]


def convolved_before_the_upsampling(head: UPerNet, features: Tensor) -> Tensor:
    pooled = [pool(F.adaptive_avg_pool2d(features, grid)) for pool, grid in zip(head.pools, head.grids, strict=True)]
    up = [upernet._upsample(one, features.shape[2:]) for one in pooled]
    return head.pyramid(torch.cat([features, *up], 1))  # type: ignore[no-any-return]


def smoothed_running_sum(head: UPerNet, *stages: Tensor) -> Tensor:
    pyramid = [head._pooled(stages[-1])]
    for index in (2, 1, 0):
        features = head.lateral[index](stages[index])
        pyramid.insert(0, head.smooth[index](features + upernet._upsample(pyramid[0], features.shape[2:])))
    size = pyramid[0].shape[2:]
    return head.fuse(torch.cat([upernet._upsample(level, size) for level in pyramid], 1))  # type: ignore[no-any-return]


class TestUPerNet(GoldenTests):
    case = GoldenCase(
        "upernet",
        lambda: Classified(UPerNet((6, 8, 12, 24), 6), 5),
        outputs,
        {
            "ppm_conv": "head.pools", "ppm_last_conv": "head.pyramid", "fpn_in": "head.lateral",
            "fpn_out.0.0": "head.smooth.0", "fpn_out.1.0": "head.smooth.1", "fpn_out.2.0": "head.smooth.2",
            "conv_last.0": "head.fuse", "conv_last.1": "classifier",
        },
        changes={
            "leaky": leaky,
            "another last grid": set_to("grids", (1, 2, 3, 5), "head"),
            "another third grid": set_to("grids", (1, 2, 4, 6), "head"),
            "last grid first": of_the_last_grid_first,
            "inputs of the pyramid": rolled_inputs("head.pyramid.0.weight", 6),
            "inputs of the fusion": rolled_inputs("head.fuse.0.weight", 6),
            "fine smoothing": exchanged("head.smooth.0", "head.smooth.1"),
            "coarse smoothing": exchanged("head.smooth.1", "head.smooth.2"),
            "aligned corners": resampled(upernet, "_upsample", "bilinear", True),
            "nearest": resampled(upernet, "_upsample", "nearest"),
            "convolutions before the upsampling": Patch(UPerNet, "_pooled", convolved_before_the_upsampling),
            "smoothed running sum": Patch(UPerNet, "forward", smoothed_running_sum),
        },
    )  # fmt: skip

    @pytest.mark.parametrize("name", ["aligned corners", "nearest", "convolutions before the upsampling"])
    def test_it_would_also_be_seen_in_training(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        patch = self.case.changes[name]
        assert isinstance(patch, Patch)
        monkeypatch.setattr(patch.owner, patch.name, patch.value)
        assert self.case.distance(training=True) > SEEN


# Beyond the golden numbers.


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
