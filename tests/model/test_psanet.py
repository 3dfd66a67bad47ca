"""PSANet with the weights of the authors' module gives its outputs and gradients; its maps, masks and limits."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from changes import Change, exchanged, leaky, set_to
from golden_case import AgreementTests, GoldenCase, GoldenTests, Patch, resampled, returning
from golden_numbers import golden_file
from test_heads import randomize
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.inference import SlidingWindow
from ocnet_pl.model.head import psanet
from ocnet_pl.model.head.psanet import PointwiseSpatialAttention, PSANet


def variant(name: str, changes: Mapping[str, Change | Patch] | None = None, **arguments: Any) -> GoldenCase:
    """A variant of the golden file, with the arguments that make it."""
    usual: dict[str, Any] = {"map_size": (6, 7), "shrink": 1, "channels": 6, "dropout": 0.0}

    def build() -> PSANet:
        head = PSANet(12, **usual | arguments)
        head.fuse = nn.Identity()  # behind the authors' module
        return head

    # A second branch has the suffix _p.
    names = {"proj": "project"}
    for suffix, direction in zip(("", "_p"), build().branches, strict=False):
        names[f"reduce{suffix}"] = f"branches.{direction}.reduce"
        names[f"attention{suffix}"] = f"branches.{direction}.attention"
        names[f"attention{suffix}.3"] = f"branches.{direction}.logits"
    return GoldenCase("psanet", build, returning("features"), names, prefix=f"{name}/", changes=changes or {})


def in_other_order(head: nn.Module) -> None:
    head.branches = nn.ModuleDict(dict(reversed(head.branches.items())))  # type: ignore[operator, union-attr]


def over_the_other_axis(direction: str) -> Change:
    """The softmax of one branch over the other axis, and its sum likewise."""
    other = {"collect": "distribute", "distribute": "collect"}[direction]
    return set_to("name", other, f"branches.{direction}")


def without_shrinking(head: nn.Module) -> None:
    for branch in head.branches.values():  # type: ignore[operator, union-attr]
        branch.shrink = 1


usual_offsets, usual_context = psanet._offsets, PSANet.with_context
OPPOSITE = Patch(psanet, "_offsets", lambda *given: tuple(part.T for part in usual_offsets(*given)))
CONTEXT_FIRST = Patch(PSANet, "with_context", lambda head, features: usual_context(head, features).roll(12, 1))


class TestBothDirections(GoldenTests):
    case = variant(
        "bi",
        {
            "leaky": leaky,
            "order of the branches": in_other_order,
            "collecting over the other axis": over_the_other_axis("collect"),
            "distributing over the other axis": over_the_other_axis("distribute"),
            "branches": exchanged("branches.collect", "branches.distribute"),
            "logits": exchanged("branches.collect.logits", "branches.distribute.logits"),
            "no shrinking": without_shrinking,
            "offsets of the opposite sign": OPPOSITE,
            "corners not aligned": resampled(psanet, "upsample", "bilinear"),
            "context before the features": CONTEXT_FIRST,
        },
        map_size=(13, 17),
        shrink=2,
    )


class TestCollect(GoldenTests):
    case = variant("collect", {"offsets of the opposite sign": OPPOSITE}, directions=["collect"])


class TestDistribute(GoldenTests):
    case = variant("distribute", {"offsets of the opposite sign": OPPOSITE}, directions=["distribute"])


class TestASmallMask(GoldenTests):
    case = variant(
        "small_mask",
        {
            f"far pairs when {direction} have no weight": set_to("weigh_far_pairs", False, f"branches.{direction}")
            for direction in psanet.DIRECTIONS
        },
        mask_size=(5, 3),
        weigh_far_pairs=True,
    )


class TestTheCompactForm(AgreementTests):
    case = variant("compact", compact=True)


def test_the_bare_mask_operator() -> None:
    golden = golden_file("psanet", "mask/")
    for direction in psanet.DIRECTIONS:
        branch = PointwiseSpatialAttention(3, 35, (5, 7), direction)
        branch.attention, branch.logits = nn.Identity(), nn.Identity()
        branch.shrink = 1
        given = golden["x_5x7_of_3x4"]
        logits = branch._logits(given, branch.pairs(given))
        theirs = golden[direction].flatten(2)
        assert torch.equal(logits if direction == "collect" else logits.transpose(1, 2), theirs)


# Beyond the golden numbers.


def test_parameters_at_the_papers_width() -> None:
    head = PSANet(2048, (97, 97))
    assert head.branches["collect"].mask_size == (97, 97)
    count = sum(p.numel() for p in head.parameters()) + 512 * 19 + 19
    assert count == pytest.approx(33.2e6, abs=0.05e6)


@pytest.mark.parametrize(
    ("map_size", "mask"), [((97, 97), (97, 97)), ((60, 75), (59, 75)), ((4, 8), (3, 7)), (None, (59, 59))]
)
def test_the_mask_follows_the_training_map(map_size: tuple[int, int] | None, mask: tuple[int, int]) -> None:
    assert PSANet(4, map_size, 2).branches["collect"].mask_size == mask


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("size", [(13, 17), (12, 18), (6, 9), (31, 24)])
@torch.no_grad()
def test_rows_times_values_are_the_forward_pass(size: tuple[int, int], far: bool) -> None:
    """Also on maps smaller and larger than those of training."""
    head = PSANet(8, (13, 17), 6, weigh_far_pairs=far).eval()
    randomize(head)
    features = torch.randn(1, 8, *size, generator=torch.Generator().manual_seed(1))
    for (branch, seen), direction in zip(head.attended(features), psanet.DIRECTIONS, strict=True):
        assert branch.name == direction
        assert isinstance(branch, PointwiseSpatialAttention)
        height, width = branch.size(seen)
        assert (height, width) == ((size[0] + 1) // 2, (size[1] + 1) // 2)
        points = torch.cartesian_prod(torch.arange(width), torch.arange(height))
        rows, (x, y) = branch.rows(seen, points), points.T
        torch.testing.assert_close(rows.sum((1, 2)), torch.ones(len(points)))
        rebuilt = torch.einsum("phw,chw->pc", rows, branch.reduced(seen)[0])
        torch.testing.assert_close(rebuilt, branch(seen)[0, :, y, x].T)
        for point, row in zip(points.tolist(), rows, strict=True):
            assert torch.equal(row > 0, branch.reach(*point, (height, width)))


@torch.no_grad()
def test_rows_are_the_map_of_the_forward_pass_in_compact_form() -> None:
    head = PSANet(8, (6, 7), 6, compact=True, shrink=1).eval()
    features = torch.randn(1, 8, 6, 7)
    for branch, seen in head.attended(features):
        rows = branch.rows(seen, torch.tensor([[6, 5], [0, 2]]))
        rebuilt = torch.einsum("phw,chw->pc", rows, branch.reduced(seen)[0])
        torch.testing.assert_close(rebuilt, branch(seen)[0, :, [5, 2], [6, 0]].T)
        assert branch.reach(0, 0, (6, 7)).all()


def test_the_compact_form_refuses_other_maps() -> None:
    head = PSANet(4, (6, 7), 2, compact=True, shrink=1).eval()
    with pytest.raises(UserError, match=r"6x7, not 6x8.*inference=sliding"):
        head(torch.randn(1, 4, 6, 8))
    with pytest.raises(UserError, match=r"compact=true: .*dataset.crop_size"):
        PSANet(4, None, 2, compact=True)


@pytest.mark.parametrize("arguments", [{"mask_size": (4, 5)}, {"mask_size": (5,)}, {"directions": ["gather"]},
                                       {"directions": []}, {"directions": ["collect", "collect"]}])  # fmt: skip
def test_wrong_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"^{next(iter(arguments))}=.*expected "):
        PSANet(4, (6, 7), 2, **arguments)


@torch.no_grad()
def test_a_larger_map_is_attended_to_within_the_mask_alone() -> None:
    """A pixel beyond the range of training changes nothing."""
    head = PSANet(8, (5, 5), 6, shrink=1).eval()
    randomize(head)
    features = torch.randn(1, 8, 20, 20)
    changed = features.clone()
    changed[..., 19, 19] += 5
    for branch in head.branches.values():
        difference = (branch(changed) - branch(features)).abs().amax((0, 1))
        assert difference[15:, 15:].min() > 0
        assert difference[:15].max() <= 1e-6
        assert difference[:, :15].max() <= 1e-6


@pytest.mark.parametrize("size", [(64, 96), (57, 93), (32, 48)])
def test_crops_windows_and_whole_images(size: tuple[int, int]) -> None:
    """A crop's windows and whole images of any size pass through a network of crops."""
    config = compose(
        "model/head=psanet", "model/backbone=tiny", "model.head.out_channels=8", "dataset.crop_size=[32,48]"
    )
    network = build_network(config, 5).eval()
    assert network.head.branches["collect"].mask_size == (5, 7)
    with torch.no_grad():
        image = torch.zeros(1, 3, *size)
        assert network(image).shape == (1, 5, *size)
        assert SlidingWindow((32, 48), (16, 32))(network, image).shape == (1, 5, *size)


def test_no_map_of_full_size_is_stored() -> None:
    head = PSANet(4, (33, 33), 4).train()
    saved: dict[int, Tensor] = {}

    def seen(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
        head(torch.randn(2, 4, 33, 33)).sum().backward()
    assert max(tensor.numel() for tensor in saved.values()) <= 2 * (33 * 33) * (17 * 17), "the logits of the mask"
    assert sum(tensor.dtype == torch.int64 for tensor in saved.values()) == 1, "both branches share their table"
