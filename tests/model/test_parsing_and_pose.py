"""Losses of systems with poses, refused batches, and the symmetry of left and right: a network without sides treats a
mirrored sample as the sample."""

from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from head_configs import head
from torch import Tensor, nn

from ocnet_pl.config.compose import compose
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.dataset.poses import MIRROR_PAIRS
from ocnet_pl.errors import UserError
from ocnet_pl.loss.cross_entropy import CrossEntropy
from ocnet_pl.model.head.jppnet import JPPNet
from ocnet_pl.model.head.mula import MuLA
from ocnet_pl.model.layers import upsample
from ocnet_pl.model.parsing_and_pose import ParsingAndPose

SYSTEMS = ("jppnet", "mula")


def small(name: str) -> tuple[ParsingAndPose, Tensor, dict[str, Tensor]]:
    """A head of five classes and three joints, its map and the results with losses of their own."""
    torch.manual_seed(1)
    sizes = {"joints": 3, "stages": 3}
    built: JPPNet | MuLA = {
        "jppnet": lambda: JPPNet((6, 7), 5, 4, hidden_channels=8, stage_weight=0.3, pose_weight=0.7, **sizes),
        "mula": lambda: MuLA(6, 5, 4, stage_weight=0.3, pose_weight=70.0, **sizes),
    }[name]()
    maps = [torch.randn(2, channels, 9, 13) for channels in ((6, 7) if name == "jppnet" else (6,))]
    logits, extras = built.train().supervised(*maps)
    return built, logits, dict(extras)


def labelled(*, ignored: bool = False) -> dict[str, Tensor]:
    label = torch.full((2, 65, 97), 255) if ignored else torch.randint(5, (2, 65, 97))
    label[:, :9] = 255
    pose = torch.rand(2, 3, 3) * torch.tensor([96.0, 64.0, 1.0])
    pose[0, 1, :2] = torch.nan
    return {"label": label.to(torch.uint8), "pose": pose}


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_result_but_the_last_parsing_has_a_loss(name: str) -> None:
    built, _, extras = small(name)
    batch = labelled()
    terms = built.losses(extras, batch, CrossEntropy())
    assert set(terms) == {"parsing1", "parsing2", "pose1", "pose2", "pose3"}
    for stage in ("parsing1", "parsing2"):
        logits = F.interpolate(extras[stage], (65, 97), mode="bilinear", align_corners=True)
        torch.testing.assert_close(terms[stage], 0.3 * F.cross_entropy(logits, batch["label"].long(), ignore_index=255))
    for stage in ("pose1", "pose2", "pose3"):
        loss = built.pose_loss(extras[stage], batch["pose"], (65, 97))
        torch.testing.assert_close(terms[stage], {"jppnet": 0.7, "mula": 70.0}[name] * loss)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_parameter_gets_a_gradient_without_any_label(name: str) -> None:
    built, logits, extras = small(name)
    terms = built.losses(extras, labelled(ignored=True), CrossEntropy())
    assert all(bool(term == 0) is stage.startswith("parsing") for stage, term in terms.items())
    (logits.sum() * 0 + torch.stack(list(terms.values())).sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters())


@pytest.mark.parametrize(("pose", "words"), [(None, "no such target"), (torch.zeros(2, 15, 3), "has 15 joints")])
@pytest.mark.parametrize("name", SYSTEMS)
def test_batches_without_these_poses_are_refused(name: str, pose: Tensor | None, words: str) -> None:
    built, _, extras = small(name)
    batch = {"label": labelled()["label"]} | ({} if pose is None else {"pose": pose})
    with pytest.raises(UserError, match=f"^pose: .*{words}"):
        built.losses(extras, batch, CrossEntropy())


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_head_turns_on_the_poses_of_lip(name: str) -> None:
    assert compose(f"model/head={name}", "dataset=lip").dataset.poses is True
    assert compose(f"model/head={name}", "dataset=lip", "dataset.poses=false").dataset.poses is False
    assert compose(f"model/head={name}").loss.auxiliary_weight == 0
    assert compose("model/head=danet", "dataset=lip").dataset.poses is False


# Left and right.

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


def _alike(
    head: nn.Module, one: tuple[list[Tensor], dict[str, Tensor]], other: tuple[list[Tensor], dict[str, Tensor]]
) -> bool:
    (terms, score), (other_terms, other_score) = _judged(head, *one), _judged(head, *other)
    assert score.sum() > 0
    same = all(torch.isclose(terms[name], other_terms[name], rtol=1e-5) for name in terms)
    return same and bool(((score - other_score).abs() <= 0.001 * score.sum()).all())


@pytest.mark.parametrize(
    ("name", "options"),
    [("jppnet", {"hidden_channels": 12, "remap_channels": 2, "initial_std": 0.2}), ("mula", {})],
)
def test_a_mirrored_image_and_pose_have_the_same_loss_and_score(name: str, options: dict[str, float]) -> None:
    torch.manual_seed(0)
    built = head(name, 24, 20, out_channels=8, **options)
    sample = _sample(len(getattr(built, "levels", (-1,))))
    mirror = _mirrored_sample(*sample)
    assert not _alike(built, sample, mirror), "any head would pass"
    without_sides(built)
    assert _alike(built, sample, mirror)
    inputs, batch = mirror
    for wrong in (sample[1]["pose"], batch["pose"][:, _exchanged(16)]):  # not mirrored; mirrored, with wrong sides
        assert not _alike(built, sample, (inputs, batch | {"pose": wrong}))
