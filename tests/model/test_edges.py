"""Edges of label maps and their focal loss against golden numbers, and where the rules differ."""

from collections.abc import Callable

import pytest
import torch
from golden_numbers import golden_file
from torch import Tensor

from ocnet_pl.model import edges
from ocnet_pl.model.edges import canny_edges, dilated, focal_loss, neighbour_edges, released_focal_loss


def test_canny_edges_are_those_of_dfns_loader() -> None:
    golden = golden_file("dfn_losses")
    assert torch.equal(dilated(canny_edges(golden["label"]), 7), golden["border_target"].bool())
    assert not torch.equal(dilated(canny_edges(golden["label"]), 5), golden["border_target"].bool())
    assert not torch.equal(dilated(neighbour_edges(golden["label"]), 7), golden["border_target"].bool())


def test_neighbour_edges_are_those_of_ce2ps_loader() -> None:
    golden = golden_file("ce2p_losses")
    assert (golden["label"] == 255).any()
    assert torch.equal(neighbour_edges(golden["label"]), golden["edge_undilated"].bool())
    assert torch.equal(dilated(neighbour_edges(golden["label"]), 3), golden["edge"].bool())


@pytest.mark.parametrize("classes", [2, 150, 254])
@pytest.mark.parametrize("side", [1, 4])
def test_canny_edges_are_opencvs(classes: int, side: int) -> None:
    import cv2

    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(classes, (64 // side, 80 // side), generator=generator, dtype=torch.uint8)
    label = blocks.repeat_interleave(side, 0).repeat_interleave(side, 1)
    label = torch.where(torch.ones_like(label).triu(5).bool(), label, 1)  # and a diagonal line
    expected = torch.from_numpy(cv2.Canny(label.numpy(), 5, 5, apertureSize=7))
    assert torch.equal(canny_edges(label[None])[0], expected.bool())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(canny_edges(label[None])[0], expected.bool())


@pytest.mark.parametrize("rule", [canny_edges, neighbour_edges])
def test_rules_take_any_integers_and_mark_nothing_in_one_class(rule: Callable[[Tensor], Tensor]) -> None:
    label = torch.full((2, 9, 11), 7, dtype=torch.uint8)
    assert not rule(label).any()
    label[1, 4:] = 3
    assert torch.equal(rule(label), rule(label.long()))
    assert rule(label)[1].any()
    assert not rule(label)[0].any()


def test_only_canny_marks_the_rim_of_an_ignored_region() -> None:
    label = torch.full((1, 12, 12), 7, dtype=torch.uint8)
    label[:, 4:8, 4:8] = 255
    assert not neighbour_edges(label).any()
    assert canny_edges(label).any()


CASES = {"restated_focal/mean_labelled": focal_loss, "released_focal": released_focal_loss}


def focal(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, gradient, and their golden numbers."""
    golden = golden_file("dfn_losses")
    logits, target = golden["border_logits"][:, 0].requires_grad_(), golden["border_target_padded"]
    loss = CASES[name](logits, target == 1, target != 255)
    (gradient,) = torch.autograd.grad(loss, logits)
    return loss.detach(), gradient, golden[name], golden[f"{name}/grad"][:, 0]


@pytest.mark.parametrize("name", CASES)
def test_focal_losses(name: str) -> None:
    loss, gradient, theirs, their_gradient = focal(name)
    torch.testing.assert_close(loss, theirs, rtol=1e-6, atol=0)
    assert (gradient - their_gradient).abs().max() <= 1e-4 * their_gradient.abs().max()


@pytest.mark.parametrize("change", [{"gamma": 1.0}, {"alpha": 0.75}, {"alpha": 0.5}])
def test_other_constants_would_be_seen(change: dict[str, float]) -> None:
    golden = golden_file("dfn_losses")
    target = golden["border_target_padded"]
    loss = focal_loss(golden["border_logits"][:, 0], target == 1, target != 255, **change)
    assert abs(loss / golden["restated_focal/mean_labelled"] - 1) > 1e-2


def test_a_mean_over_all_pixels_would_be_seen() -> None:
    golden = golden_file("dfn_losses")
    assert abs(golden["restated_focal/mean_all"] / golden["restated_focal/mean_labelled"] - 1) > 1e-2


def test_the_released_loss_raises_every_logit() -> None:
    _, gradient, _, _ = focal("released_focal")
    target = golden_file("dfn_losses")["border_target_padded"]
    assert (gradient[target != 255] < 0).all()
    _, gradient, _, _ = focal("restated_focal/mean_labelled")
    assert (gradient[target == 1] < 0).all()
    assert (gradient[target == 0] > 0).all()


def test_no_counted_pixel_gives_no_loss() -> None:
    logits, nothing = torch.randn(1, 4, 4, requires_grad=True), torch.zeros(1, 4, 4, dtype=torch.bool)
    for loss in (focal_loss, released_focal_loss):
        value = loss(logits, nothing, nothing)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value.item() == 0
        assert not gradient.any()


def test_edges_use_the_layers_of_the_field() -> None:
    """Sobel's operator of size 7, as OpenCV has it."""
    import cv2

    derive, smooth = cv2.getDerivKernels(1, 0, 7)
    assert tuple(smooth.flatten().astype(int)) == edges._SMOOTH
    assert tuple(derive.flatten().astype(int)) == edges._DERIVE
