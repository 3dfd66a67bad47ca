"""The rows of the object context map are the very weights of the forward pass, and keep their meaning in the image."""

from typing import Any

import numpy as np
import pytest
import torch
from head_configs import ATTENDING, maps, narrow, tree
from head_configs import head as head_of
from test_heads import randomize
from torch import Tensor, nn

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose, heads
from ocnet_pl.errors import UserError
from ocnet_pl.inference import AtTestSize, WholeImage
from ocnet_pl.model.object_context import require_attention
from ocnet_pl.model.object_context_pooling import ObjectContextPooling
from ocnet_pl.model.positions import Positions
from ocnet_pl.predictor import Predictor

POOLED = [name for name in ATTENDING if any(isinstance(m, ObjectContextPooling) for m in head_of(name).modules())]
"""Heads with object context pooling."""


def network(head: str, *overrides: str) -> Predictor:
    config = compose(
        f"model/head={head}",
        "model/backbone=tiny",
        *narrow(head, 16),
        "model.auxiliary_channels=4",
        *overrides,
    )
    built = build_network(config, 5, class_tree=tree(5))
    randomize(built.head)
    return Predictor(built)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def context_vectors(head: nn.Module, *features: Tensor) -> list[Tensor]:
    """What every W gets in a forward pass."""
    seen: list[Tensor] = []
    pools = [module for module in head.modules() if isinstance(module, ObjectContextPooling)]
    hooks = [pool.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for pool in pools]
    head(*features)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("size", [(12, 18), (13, 17), (6, 11)])
@pytest.mark.parametrize("name", POOLED)
@torch.no_grad()
def test_rows_times_values_are_the_forward_pass(name: str, size: tuple[int, int]) -> None:
    head = head_of(name, 12, out_channels=16).eval()
    randomize(head)
    features = maps(head, size, 12, batch=1)
    contexts = context_vectors(head, *features)
    attentions = require_attention(head).attended(*features)
    assert len(attentions) == len(contexts) == (4 if name == "pyramid_oc" else 1)
    for (pool, seen), context in zip(attentions, contexts, strict=True):
        value = pool.transforms(seen)[2]
        height, width = value.shape[2:]
        assert (height, width) == tuple(side // pool.downsample for side in size)
        points = torch.cartesian_prod(torch.arange(width), torch.arange(height))
        rows = pool.rows(seen, points)
        rebuilt = torch.einsum("phw,chw->pc", rows, value[0])
        x, y = points.T
        torch.testing.assert_close(rebuilt, context[0, :, y, x].T, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(rows.sum((1, 2)), torch.ones(len(points)))


@torch.no_grad()
def test_rows_with_a_query_of_its_own() -> None:
    torch.manual_seed(0)
    pool = ObjectContextPooling(8, 4, 6, 8, share_query_key=False).eval()
    features = torch.randn(1, 8, 5, 7)
    (context,) = context_vectors(pool, features)
    rebuilt = torch.einsum("phw,chw->pc", pool.rows(features, torch.tensor([[6, 2]])), pool.transforms(features)[2][0])
    torch.testing.assert_close(rebuilt[0], context[0, :, 2, 6])


@pytest.mark.parametrize("name", ATTENDING)
def test_maps_have_the_size_of_the_image(name: str) -> None:
    built = network(name)
    image = picture(40, 72)
    points = [(0, 0), (71, 39), (30, 8)]
    maps = built.object_context(image, points)
    names = built.attend(image).names
    if name == "pyramid_oc":
        assert names == ["whole image", "2x2 cells", "3x3 cells", "6x6 cells"]
    assert maps.shape == (3, len(names), 40, 72)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps.sum((2, 3)), 1, rtol=1e-5)
    context = built.attend(image)
    relative = maps[0, 0] / context.equal(0, points)[0].numpy()
    assert relative[0, 0] == pytest.approx(float(context.rows(0, points)[0, 0, 0]) * context.rows(0, points)[0].numel())
    for number in range(len(names)):
        np.testing.assert_allclose(context.equal(number, points).sum((1, 2)), 1, rtol=1e-5)
    if name == "pyramid_oc":
        assert context.equal(3, points)[0, 20:].max() == 0
        assert maps[0, 3, 20:].max() == 0
        assert maps[0, 3, :, 36:].max() == 0


def test_the_map_is_that_of_the_pass_at_the_test_size() -> None:
    built = network("base_oc")
    image = picture(40, 72)
    sizes = []
    built.network.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
    built.protocol = AtTestSize(WholeImage(), lambda height, width: (2 * height, 3 * width))
    built.predict(image)
    maps = built.object_context(image, [(71, 0)])
    assert sizes == [(80, 216)] * 2
    assert maps.shape == (1, 1, 40, 72)
    context = built.attend(image)
    assert context.positions(0).size == (11, 28)
    np.testing.assert_allclose(maps.sum(), 1, rtol=1e-5)
    (row,) = context.rows(0, [(71, 0)])
    grid = Positions((11, 28), (40, 72), (80, 216))
    np.testing.assert_allclose(maps[0, 0], grid.spread(row), rtol=1e-5)
    corner = grid.spread(row)[-1, -1] / row[-1, -1]
    assert corner == pytest.approx(1 / (79 / 10 / 2 + 0.5) / (215 / 27 / 2 + 0.5) * 2 * 3, rel=1e-4)


def test_rows_cost_no_more_than_what_leads_to_them() -> None:
    built = network("asp_oc")
    head = built.network.head
    ran = []
    for part in (head.pyramid.point, head.pyramid.fuse, head.pyramid.context[1].project):
        part.register_forward_hook(lambda *_: ran.append(True))
    built.object_context(picture(32, 32), [(3, 3)])
    assert not ran
    built.predict(picture(32, 32))
    assert ran


@pytest.mark.parametrize("name", [name for name in heads() if name not in ATTENDING])
def test_a_head_without_attention_is_told(name: str) -> None:
    with pytest.raises(UserError, match="no attention map"):
        network(name).object_context(picture(32, 32), [(0, 0)])


@pytest.mark.parametrize("point", [(64, 0), (0, 32), (-1, 5), (1, 2, 3)])
def test_a_point_outside_is_told(point: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"x from 0 to 63 .* and y from 0 to 31"):
        network("base_oc").object_context(picture(32, 64), [point])


@pytest.mark.parametrize(
    "image", [picture(32, 32) / 255, picture(32, 32)[..., 0], picture(32, 32).transpose(2, 0, 1), "photo.jpg"]
)
def test_what_is_no_photograph_is_refused(image: Any) -> None:
    built = network("base_oc")
    for ask in (built.predict, lambda given: built.object_context(given, [(0, 0)])):
        with pytest.raises(UserError, match=r"expected RGB \(H, W, 3\) uint8, not "):
            ask(image)
