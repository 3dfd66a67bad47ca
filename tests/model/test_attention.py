from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ocnet_pl.model import attention
from ocnet_pl.model.attention import explicit_attention, fused_attention, mapless_attention
from ocnet_pl.model.blocked_attention import ROWS, blocked_attention

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def inputs(positions: int, width: int, value_width: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, positions, channels) for channels in (width, width, value_width)]
    return [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize(
    ("attend", "positions"),
    [(fused_attention, 30), (blocked_attention, 30), (blocked_attention, ROWS), (blocked_attention, 2 * ROWS + 30)],
)
@pytest.mark.parametrize("value_width", [8, 16, 20, 3])
def test_it_is_the_textbook_form(attend: Attend, positions: int, value_width: int) -> None:
    query, key, value = inputs(positions, 8, value_width)
    seed = torch.randn_like(value)
    for arguments in ([query, key, value], [key, key, value]):  # shared, as in the authors' code
        outputs = [form(*arguments) for form in (attend, explicit_attention)]
        gradients = [torch.autograd.grad((output * seed).sum(), [key, value]) for output in outputs]
        torch.testing.assert_close(*outputs)
        torch.testing.assert_close(*gradients)
    ours, theirs = (torch.autograd.grad(form(query, key, value).sum(), query) for form in (attend, explicit_attention))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("value_width", "dtype", "form"),
    [
        (8, torch.float32, "fused_attention"),
        (4, torch.float32, "fused_attention"),
        (16, torch.float32, "blocked_attention"),
        (16, torch.bfloat16, "fused_attention"),
    ],
)
def test_blocks_are_for_what_fused_kernels_repeat(
    value_width: int, dtype: torch.dtype, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    for name in ("fused_attention", "blocked_attention"):
        monkeypatch.setattr(attention, name, lambda *_, name=name: taken.append(name))
    mapless_attention(*inputs(6, 8, value_width, dtype))
    assert taken == [form]


def test_blocks_survive_the_compiler() -> None:
    arguments = inputs(ROWS + 5, 4, 8, torch.float32)
    torch.testing.assert_close(torch.compile(mapless_attention)(*arguments), explicit_attention(*arguments))
