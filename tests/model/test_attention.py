import pytest
import torch

from ocnet_pl.model.attention import explicit_attention, fused_attention


@pytest.mark.parametrize("value_width", [8, 16, 20, 3])
def test_fused_attention_is_the_textbook_form(value_width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 30, 8), (2, 30, 8), (2, 30, value_width)
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    seed = torch.randn(2, 30, value_width, generator=generator, dtype=torch.float64)
    outputs = [attend(*inputs) for attend in (fused_attention, explicit_attention)]
    gradients = [torch.autograd.grad((output * seed).sum(), inputs) for output in outputs]
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)
