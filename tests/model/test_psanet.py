"""PSANet with the weights of the authors' module gives its outputs and gradients; its maps, masks and limits."""

from collections.abc import Callable
from typing import Any

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
from test_heads import randomize
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.errors import UserError
from ocnet_pl.inference import SlidingWindow
from ocnet_pl.model.head import psanet
from ocnet_pl.model.head.psanet import PointwiseSpatialAttention, PSANet

CASES: dict[str, dict[str, Any]] = {
    "bi": {"map_size": (13, 17), "shrink": 2},
    "collect": {"directions": ["collect"]},
    "distribute": {"directions": ["distribute"]},
    "small_mask": {"mask_size": (5, 3), "weigh_far_pairs": True},
    "compact": {"compact": True},
}
"""Variants of the golden file, with the arguments that make them."""


def build(case: str) -> PSANet:
    return PSANet(12, **{"map_size": (6, 7), "shrink": 1, "channels": 6, "dropout": 0.0, **CASES[case]})


def names(head: PSANet) -> dict[str, str]:
    """The authors' names of layers and ours: a second branch has the suffix _p."""
    both = {"proj": "project"}
    for suffix, direction in zip(("", "_p"), head.branches, strict=False):
        both[f"reduce{suffix}"] = f"branches.{direction}.reduce"
        both[f"attention{suffix}.3"] = f"branches.{direction}.logits"
        both[f"attention{suffix}"] = f"branches.{direction}.attention"
    return both


def load(case: str) -> tuple[PSANet, dict[str, Tensor]]:
    head, golden = build(case), golden_file("psanet", f"{case}/")
    head.fuse = nn.Identity()  # behind the authors' module
    with_weights(head, golden, names(head))
    return head, golden


def distance(case: str, *, training: bool, change: Callable[[nn.Module], None] = lambda head: None) -> float:
    """Largest difference to the authors' output, in multiples of its largest value."""
    head, golden = load(case)
    change(head)
    with torch.no_grad():
        output = head.train(training)(golden["x"])
    reference = golden["y_train" if training else "y_eval"]
    return float((output - reference).abs().max() / reference.abs().max())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_outputs(case: str, training: bool) -> None:
    assert distance(case, training=training) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_all_gradients(case: str) -> None:
    head, golden = load(case)
    features = golden["x"].requires_grad_()
    (head.train()(features) * golden["grad_seed"]).sum().backward()
    assert_gradient(features.grad, golden["grad_x_train"])
    of_weights = {n.removeprefix("grad_train/"): t for n, t in golden.items() if n.startswith("grad_train/")}
    assert len(of_weights) == 3
    for name, theirs in of_weights.items():
        assert_gradient(head.get_parameter(ours(name, names(head))).grad, theirs)


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


# Any change would be seen.

LAYERS = [place for place in norms_and_activations(build("bi")) if not place[0].startswith("fuse")]
PARAMETERS = [name for name, _ in build("bi").named_parameters() if not name.startswith("fuse")]


@pytest.mark.parametrize(("layer", "index"), LAYERS)
def test_a_missing_norm_or_activation_would_be_seen(layer: str, index: int) -> None:
    assert distance("bi", training=False, change=removed(layer, index)) > SEEN


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_every_weight_would_be_seen(parameter: str) -> None:
    assert distance("bi", training=False, change=shifted(parameter)) > SEEN


def in_other_order(head: nn.Module) -> None:
    head.branches = nn.ModuleDict(dict(reversed(head.branches.items())))


def over_the_other_axis(direction: str) -> Callable[[nn.Module], None]:
    """The softmax of one branch over the other axis, and its sum likewise."""
    other = {"collect": "distribute", "distribute": "collect"}[direction]
    return lambda head: setattr(head.branches[direction], "name", other)


def without_shrinking(head: nn.Module) -> None:
    for branch in head.branches.values():
        branch.shrink = 1


@pytest.mark.parametrize(
    ("case", "change"),
    [
        ("bi", leaky),
        ("bi", in_other_order),
        ("bi", over_the_other_axis("collect")),
        ("bi", over_the_other_axis("distribute")),
        ("bi", exchanged("branches.collect", "branches.distribute")),
        ("bi", exchanged("branches.collect.logits", "branches.distribute.logits")),
        ("bi", without_shrinking),
        ("small_mask", lambda head: set_to("weigh_far_pairs", False)(head.branches.collect)),
        ("small_mask", lambda head: set_to("weigh_far_pairs", False)(head.branches.distribute)),
    ],
)
def test_any_change_would_be_seen(case: str, change: Callable[[nn.Module], None]) -> None:
    assert distance(case, training=False, change=change) > SEEN


@pytest.mark.parametrize("case", ["bi", "collect", "distribute"])
def test_offsets_of_the_opposite_sign_would_be_seen(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = psanet._offsets
    monkeypatch.setattr(psanet, "_offsets", lambda *given: tuple(part.T for part in usual(*given)))
    assert distance(case, training=False) > SEEN


def test_corners_that_are_not_aligned_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psanet, "upsample", lambda x, size: F.interpolate(x, tuple(size), mode="bilinear"))
    assert distance("bi", training=False) > SEEN


def test_context_before_the_features_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = PSANet.with_context
    monkeypatch.setattr(PSANet, "with_context", lambda head, x: usual(head, x).roll(12, 1))
    assert distance("bi", training=False) > SEEN


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
