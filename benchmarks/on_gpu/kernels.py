"""Attention kernels: which are used, and what they cost beside the textbook form."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from ocnet_pl.config.compose import heads
from ocnet_pl.model.attention import attend, textbook_attention
from ocnet_pl.tools.cost.measuring import Measurement, calls_attention, map_large_blocks, measure
from on_gpu.section import Finding, Scope, Section, gigabytes, milliseconds

FUSED = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION]
"""All kernels but the one that stores the map; without a fitting one among them, attention is an error."""
TYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
WIDTHS = {"": (256, 256), ", wider value": (256, 512)}
"""Widths of key and value in Pyramid-OC and in Base-OC."""


class Kernels(TorchDispatchMode):
    """Records the attention operations, and whether they get a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.masked = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name
        if "attention" in name and "backward" not in name:
            self.names.add(name.removeprefix("aten::_scaled_dot_product_").removesuffix("_attention"))
            given = dict(zip((argument.name for argument in function._schema.arguments), args, strict=False))
            bias = ("attn_mask", "attn_bias")
            self.masked |= any(isinstance({**given, **(kwargs or {})}.get(one), Tensor) for one in bias)
        return function(*args, **(kwargs or {}))


def _items(scope: Scope) -> list[str]:
    single = [f"{kind}{width}" for kind in TYPES for width in WIDTHS]
    return [*single, *(f"{head}, {kind}" for head in scope.heads for kind in TYPES)]


def _findings(scope: Scope, item: str) -> Iterator[Finding]:
    first, _, second = item.partition(", ")
    yield from _of_head(scope, item, first, second) if first in heads() else _alone(scope, item)


def _alone(scope: Scope, item: str) -> Iterator[Finding]:
    """Forward and backward pass of attention alone, beside the textbook form."""
    map_large_blocks()
    kind, width = next((kind, width) for kind in TYPES for width in WIDTHS if f"{kind}{width}" == item)
    positions = (17 if scope.rehearsal else 97) ** 2
    key, value = WIDTHS[width]
    shapes = [(2, positions, channels) for channels in (key, key, value)]
    inputs = [torch.randn(shape, device=scope.device, dtype=TYPES[kind], requires_grad=True) for shape in shapes]

    def both_passes() -> None:
        for tensor in inputs:
            tensor.grad = None
        attend(*inputs).sum().backward()

    held = torch.cuda.memory_allocated() if scope.device.type == "cuda" else 0
    with sdpa_kernel(FUSED), Kernels() as kernels:
        both_passes()
    with sdpa_kernel(FUSED):
        ours = measure(both_passes, scope.device, 5)
    with textbook_attention():
        textbook = measure(both_passes, scope.device, 5)
    time, memory = _ratio(ours.seconds, textbook.seconds), _ratio(*(_beyond(one, held) for one in (ours, textbook)))
    aimed = kind == "bf16" and not scope.rehearsal
    cells = (
        item, ", ".join(sorted(kernels.names)), "no", milliseconds(ours.seconds), milliseconds(textbook.seconds),
        f"{time:.2f}", gigabytes(_beyond(ours, held)), gigabytes(_beyond(textbook, held)), f"1/{1 / memory:.0f}",
    )  # fmt: skip
    yield Finding(cells, (time <= 1 / 3 and memory <= 1 / 20) if aimed else bool(kernels.names))


def _of_head(scope: Scope, item: str, head: str, kind: str) -> Iterator[Finding]:
    """Training step of a network without the kernel that stores the map; nothing for a head that does not attend."""
    size = scope.sizes(769, 769)
    precision = "bf16" if kind == "bf16" else "32"
    subject = scope.subject(head, size=size, precision=precision, backbone="tiny")
    if not calls_attention(subject.module.network, subject.batch["image"]):
        return
    subject.prepare_training()
    with sdpa_kernel(FUSED), Kernels() as kernels:
        subject.train_step()
    masked = "yes" if kernels.masked else "no"
    yield Finding((item, ", ".join(sorted(kernels.names)), masked), bool(kernels.names))


def _beyond(one: Measurement, held: int) -> float | None:
    return None if one.peak is None else max(1.0, one.peak - held)


def _ratio(ours: float | None, textbook: float | None) -> float:
    return ours / textbook if ours and textbook else float("nan")


SECTION = Section(
    "Attention kernels",
    "Never the kernel that stores the map; in bf16 at 97x97 positions (batch 2, forward and backward pass) at most 1/3 "
    "of the textbook form's time and 1/20 of its memory beyond the inputs.",
    ("case", "kernel", "mask", "ms", "textbook ms", "time", "GB", "textbook GB", "memory"),
    80,
    _items,
    _findings,
)
