"""Every head and loss on a GPU that is not there: tensors with the shapes and the device of CUDA, without values.

What a pass makes on the CPU by mistake meets them in an error, and so does whatever needs a value: `item`, `nonzero`, a
boolean index, an `if`. Copies from the CPU, for which a step would wait, are refused as well, and so are operations
that would end a training with `trainer.deterministic=true`.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from head_configs import narrow, tree
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose, heads
from ocnet_pl.config.search_path import options
from ocnet_pl.model.contract import needed_targets
from ocnet_pl.model.head.depthseg import DISPARITY
from ocnet_pl.model.layers import average_pool, average_pool_by_products

CUDA = torch.device("cuda")
REFUSED = ("aten::put_", "aten::histc", "aten::max_unpool2d")
REFUSED_WITH_GRADIENT = (
    "aten::_adaptive_avg_pool2d", "aten::adaptive_max_pool2d", "aten::reflection_pad2d", "aten::grid_sampler_2d",
    "aten::upsample_bilinear2d", "aten::upsample_bicubic2d", "torchvision::deform_conv2d",
)  # fmt: skip
"""Operations for which CUDA has no deterministic kernel (documentation of `torch.use_deterministic_algorithms`)."""
ALLOWED = {"sac": ("torchvision::deform_conv2d",)}
"""Heads that `trainer.deterministic=true` refuses (docs/profile.md)."""
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:.*CUDA is not available. Disabling", "ignore:Accessing the data pointer of FakeTensor"
    ),
    pytest.mark.skipif(torch.__version__ < (2, 14), reason="torch 2.6 asks the driver for fake tensors, too"),
]


class Strict(TorchDispatchMode):
    """Fails at a copy from the CPU, and at an operation without a deterministic form."""

    def __init__(self, allowed: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.allowed = allowed

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name
        first = args[0] if args and isinstance(args[0], Tensor) else None
        result = function(*args, **(kwargs or {}))
        if name in ("aten::_to_copy", "aten::copy_"):
            devices = {one.device.type for one in (first, *args[1:2], result) if isinstance(one, Tensor)}
            assert devices == {"cuda"}, f"{name} between devices"
        refused = name in REFUSED
        refused |= name.startswith("aten::nll_loss2d_forward") and args[3] != 0  # 0: one loss for each pixel
        refused |= name in REFUSED_WITH_GRADIENT and first is not None and first.requires_grad
        assert not refused or name in self.allowed, name
        return result


@pytest.fixture(autouse=True)
def deterministic() -> Any:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def passes(*overrides: str, head: str = "base_oc", size: tuple[int, int] = (129, 193)) -> None:
    """A training pass with its losses, and a test, of a network that was moved to the GPU."""
    config = compose(f"model/head={head}", "model/backbone=tiny", *narrow(head, 16), *overrides)
    module = build_bare_module(config, 19, class_tree=tree(19), body_parts=tree(19))
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        module.to(CUDA)
    mode.allow_non_fake_inputs = False
    with mode:
        with CUDA:
            batch = {
                "image": torch.randint(256, (2, 3, *size), dtype=torch.uint8),
                "label": torch.randint(19, (2, *size), dtype=torch.uint8),
                DISPARITY: torch.randint(2**15, (2, *size), dtype=torch.int32),
                **{name: torch.rand(2, *shape) for name, shape in needed_targets(module.network.head).items()},
            }
        with Strict(ALLOWED.get(head, ())):
            terms = module.train().terms(batch)
            with torch.no_grad():
                logits = module.eval().network(batch["image"])
        assert logits.shape == (2, 19, *size)
        assert {one.device for one in (logits, *terms.values())} == {torch.device("cuda", 0)}
        assert all(term.requires_grad for term in terms.values())


@pytest.mark.parametrize("head", heads())
def test_heads(head: str) -> None:
    passes(head=head)


@pytest.mark.parametrize("loss", options("loss"))
def test_losses(loss: str) -> None:
    passes(f"loss={loss}")


@pytest.mark.slow
@pytest.mark.parametrize("head", ["base_oc", "pyramid_oc", "asp_oc", "asp_oc_2019", "baseline", "gp", "ppm", "aspp"])
def test_heads_of_table_1_at_the_papers_size(head: str) -> None:
    paper = ("model/backbone=resnet101s", "model.backbone.pretrained=false", "model.head.out_channels=512")
    passes(*paper, head=head, size=(769, 769))


FAULTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "copy": lambda maps, label: maps + torch.tensor([1.0, 2.0], device=CUDA).sum(),
    "other device": lambda maps, label: maps + torch.arange(6),
    "size": lambda maps, label: label[label == 1],
    "pooling": lambda maps, label: F.adaptive_avg_pool2d(maps, 2),
    "sum": F.cross_entropy,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault: str) -> None:
    with FakeTensorMode():
        maps = torch.rand(1, 5, 4, 6, device=CUDA, requires_grad=True)
        label = torch.zeros(1, 4, 6, device=CUDA, dtype=torch.long)
        with Strict(), pytest.raises((AssertionError, RuntimeError)):
            FAULTS[fault](maps, label)


@pytest.mark.parametrize("size", [(97, 97), (9, 13), (5, 7), (2, 3)])
@pytest.mark.parametrize("grid", [1, 2, 3, 6])
def test_pooling_by_products_is_the_usual_pooling(size: tuple[int, int], grid: int) -> None:
    maps = torch.rand(2, 3, *size, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(2, 3, grid, grid, dtype=torch.float64)
    found = [(pool(maps, grid), *torch.autograd.grad((pool(maps, grid) * weights).sum(), maps))
             for pool in (average_pool, average_pool_by_products)]  # fmt: skip
    torch.testing.assert_close(*found)
