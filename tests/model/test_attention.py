import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ocnet_pl.model.attention import attend, attention_calls, attention_rows, explicit_attention, textbook_attention


def inputs(positions: int, width: int, value_width: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, positions, channels) for channels in (width, width, value_width)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
@pytest.mark.parametrize("value_width", [8, 16, 20, 3])
def test_it_is_the_textbook_form(value_width: int, scale: float | None) -> None:
    query, key, value = inputs(30, 8, value_width)
    factor = 8**-0.5 if scale is None else scale
    seed = torch.randn_like(value)
    for arguments in ([query, key, value], [key, key, value]):  # shared, as in the authors' code
        outputs = [attend(*arguments, scale), explicit_attention(*arguments, factor)]
        gradients = [torch.autograd.grad((output * seed).sum(), [key, value]) for output in outputs]
        torch.testing.assert_close(*outputs)
        torch.testing.assert_close(*gradients)
    ours, theirs = (
        torch.autograd.grad(output.sum(), query)
        for output in (attend(query, key, value, scale), explicit_attention(query, key, value, factor))
    )
    torch.testing.assert_close(ours, theirs)


def test_other_numbers_of_keys_than_queries() -> None:
    query, (key, value) = inputs(30, 8, 8)[0], inputs(7, 8, 16)[1:]
    torch.testing.assert_close(attend(query, key, value), explicit_attention(query, key, value, 8**-0.5))


@pytest.mark.parametrize("value_width", [8, 16, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_never_stores_the_map(value_width: int, dtype: torch.dtype) -> None:
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):  # not the math kernel
        attend(*inputs(30, 8, value_width, dtype)).sum().backward()


def test_rows_are_those_of_the_map() -> None:
    query, key, _ = inputs(30, 8, 8)
    identity = torch.eye(30, dtype=torch.float64).expand(2, 30, 30)
    whole = explicit_attention(query, key, identity, 8**-0.5)
    torch.testing.assert_close(attention_rows(query[1, [4, 9]], key[1]), whole[1, [4, 9]])


def test_the_textbook_form_is_used_inside_its_block_only() -> None:
    arguments = inputs(12, 4, 8)
    with attention_calls() as calls:
        outside = attend(*arguments)
        with textbook_attention():
            inside = attend(*arguments)
    torch.testing.assert_close(outside, inside)
    assert calls == [(2, 12, 12)] * 2
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):
        attend(*inputs(12, 4, 8, torch.float32))


def test_it_survives_the_compiler() -> None:
    arguments = inputs(21, 4, 8, torch.float32)
    torch.testing.assert_close(torch.compile(attend)(*arguments), explicit_attention(*arguments, 0.5))
