import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ocnet_pl.model.object_context_pooling import ObjectContextPooling


@pytest.mark.parametrize("value_width", [16, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_never_stores_the_map(value_width: int, dtype: torch.dtype) -> None:
    pool = ObjectContextPooling(12, 16, value_width, 12).to(dtype)
    features = torch.randn(2, 12, 9, 11, dtype=dtype, requires_grad=True)
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):  # not the math kernel
        pool(features).sum().backward()
    assert features.grad is not None


@pytest.mark.parametrize("size", [(12, 12), (13, 17)])
@pytest.mark.parametrize("grid", [1, 2, 3, 6])
def test_pooling_in_cells_is_pooling_of_each_cell(size: tuple[int, int], grid: int) -> None:
    torch.manual_seed(0)
    pool = ObjectContextPooling(8, 4, 8, 8, grid=grid, zero_init=False).eval()
    features = torch.randn(2, 8, *size)
    query, key, value = pool.transforms(features)
    expected = torch.empty_like(value)
    steps = [side // grid for side in size]
    for row in range(grid):
        for column in range(grid):
            here = (
                slice(None),
                slice(None),
                slice(row * steps[0], size[0] if row == grid - 1 else (row + 1) * steps[0]),
                slice(column * steps[1], size[1] if column == grid - 1 else (column + 1) * steps[1]),
            )
            q, k, v = (part[here].flatten(2).transpose(1, 2) for part in (query, key, value))
            weights = torch.softmax(q @ k.transpose(1, 2) / 4**0.5, -1)
            expected[here] = (weights @ v).transpose(1, 2).view_as(value[here])
    torch.testing.assert_close(pool(features), pool.project(expected))


def test_context_fades_in_from_zero() -> None:
    assert ObjectContextPooling(8, 4, 4, 8)(torch.randn(2, 8, 6, 6)).count_nonzero() == 0


def test_query_and_key_can_differ() -> None:
    torch.manual_seed(0)
    shared, apart = (ObjectContextPooling(8, 4, 4, 8, share_query_key=share) for share in (True, False))
    query, key, _ = shared.transforms(torch.randn(2, 8, 6, 6))
    assert query is key
    query, key, _ = apart.transforms(torch.randn(2, 8, 6, 6))
    assert not torch.equal(query, key)


@pytest.mark.parametrize("given", [None, 0.1, 0.5])
@pytest.mark.parametrize("share", [True, False])
def test_norm_statistics_move_as_in_the_authors_code(share: bool, given: float | None) -> None:
    """Their forward pass calls the shared transform once as query and once as key."""
    torch.manual_seed(0)
    pool = ObjectContextPooling(8, 4, 4, 8, share_query_key=share, key_momentum=given).double()
    norm, features = pool.key[1], torch.randn(2, 8, 6, 6, dtype=torch.double)
    reference = torch.nn.BatchNorm2d(4, momentum=0.1 if given is None else given).double()
    transformed = pool.key[0](features)
    for _ in range(2 if share and given is None else 1):
        reference(transformed)
    pool(features)
    torch.testing.assert_close(norm.running_mean, reference.running_mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(norm.running_var, reference.running_var, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("downsample", [2, 3])
def test_sides_shorter_than_the_max_pool_are_one_position(size: tuple[int, int], downsample: int) -> None:
    pool = ObjectContextPooling(8, 4, 8, 8, downsample=downsample, zero_init=False)
    features = torch.randn(2, 8, *size)
    assert pool(features).shape == features.shape
    pooled = pool.pooled(features)
    assert tuple(pooled.shape[2:]) == pool.size(features)
    assert torch.equal(
        pooled.amax((2, 3)), features[..., : pooled.shape[2] * downsample, : pooled.shape[3] * downsample].amax((2, 3))
    )
