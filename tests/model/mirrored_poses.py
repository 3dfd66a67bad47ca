"""Symmetry of left and right in systems with poses: a network without sides treats a mirrored sample as the sample."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ocnet_pl.dataset.lip import LIP
from ocnet_pl.dataset.poses import MIRROR_PAIRS
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.layers import upsample

WIDTH = 57
"""Positions of a row; a stride of two from the first to the last one has the same steps from both sides."""


def _exchanged(channels: int) -> list[int]:
    """Place of every channel after mirroring: classes and joints by their sides, others in pairs."""
    if channels in (16, 17, 20):
        pairs: Sequence[tuple[int, int]] = LIP.mirror_pairs if channels == 20 else MIRROR_PAIRS
    else:
        assert channels % 2 == 0
        pairs = [(first, first + 1) for first in range(0, channels, 2)]
    order = list(range(channels))
    for one, other in pairs:
        order[one], order[other] = other, one
    return order


def mirrored(maps: Tensor) -> Tensor:
    """Mirror maps (B, C, h, w), and exchange the channels of the two sides."""
    return maps[:, _exchanged(maps.shape[1])].flip(-1)


@torch.no_grad()
def without_sides(head: nn.Module) -> nn.Module:
    """Change the weights of a head: its outputs for mirrored inputs are its mirrored outputs."""
    for part in head.modules():
        if isinstance(part, nn.Conv2d):
            out, into = _exchanged(part.out_channels), _exchanged(part.in_channels)
            part.weight.copy_((part.weight + part.weight[out][:, into].flip(-1)) / 2)
            if part.bias is not None:
                part.bias.copy_((part.bias + part.bias[out]) / 2)
    return head


def _sample(maps: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Two images of 57 x 57 positions at stride 8: maps of 24 channels, labels of LIP and poses."""
    generator = torch.Generator().manual_seed(0)
    side = 8 * (WIDTH - 1) + 1
    coarse = torch.randint(20, (2, 1, 6, 6), generator=generator).float()
    label = nn.functional.interpolate(coarse, (side, side)).squeeze(1).to(torch.uint8)
    pose = torch.rand(2, 16, 3, generator=generator) * (side - 1)
    pose[0, 3] = torch.tensor([torch.nan, torch.nan, 0])
    inputs = [torch.randn(2, 24, WIDTH, WIDTH, generator=generator) for _ in range(maps)]
    return inputs, {"label": label, "pose": pose}


def _mirrored_sample(inputs: list[Tensor], batch: dict[str, Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
    classes, joints = torch.tensor(_exchanged(20), dtype=torch.uint8), _exchanged(16)
    pose = batch["pose"][:, joints]
    pose[..., 0] = batch["label"].shape[-1] - 1 - pose[..., 0]
    return [mirrored(one) for one in inputs], {"label": classes[batch["label"].long()].flip(-1), "pose": pose}


@torch.no_grad()
def _judged(head: nn.Module, inputs: list[Tensor], batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Loss terms, and the score: pixels of each class that are right, summed over the sides of a class."""
    label = batch["label"].long()
    _, extras = head.train().supervised(*inputs)  # type: ignore[operator]
    terms = head.losses(extras, batch, CrossEntropy())  # type: ignore[operator]
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()  # those of the pass above are of one side
    predicted = upsample(head.eval()(*inputs), label.shape[-2:]).argmax(1)
    right = torch.bincount(label[predicted == label], minlength=20)
    return terms, right + right[_exchanged(20)]


def assert_mirrored_alike(head: nn.Module) -> None:
    """Check a head of LIP's 20 classes and 16 joints on maps of 24 channels."""
    sample = _sample(len(getattr(head, "levels", (-1,))))
    mirror = _mirrored_sample(*sample)
    assert not _alike(head, sample, mirror), "any head would pass"
    without_sides(head)
    assert _alike(head, sample, mirror)
    inputs, batch = mirror
    for wrong in (sample[1]["pose"], batch["pose"][:, _exchanged(16)]):  # not mirrored; mirrored, with wrong sides
        assert not _alike(head, sample, (inputs, batch | {"pose": wrong}))


def _alike(
    head: nn.Module, one: tuple[list[Tensor], dict[str, Tensor]], other: tuple[list[Tensor], dict[str, Tensor]]
) -> bool:
    (terms, score), (other_terms, other_score) = _judged(head, *one), _judged(head, *other)
    assert score.sum() > 0
    same = all(torch.isclose(terms[name], other_terms[name], rtol=1e-5) for name in terms)
    return same and bool(((score - other_score).abs() <= 0.001 * score.sum()).all())
