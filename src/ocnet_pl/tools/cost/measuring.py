"""Multiply-adds, time and peak memory of a piece of network, all in this process."""

import copy
import ctypes
import gc
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode

from ocnet_pl.model.attention import attention_calls, textbook_attention

_M_MMAP_THRESHOLD = -3
"""Of glibc's malloc.h."""


@dataclass(frozen=True)
class Measurement:
    """Of one operation; None for what could not be had.

    Attributes:
        seconds: the fastest repetition.
        peak: bytes at the highest point. On the GPU all that is allocated, weights too; on the CPU what
            the process holds beyond what it held before.
    """

    seconds: float | None
    peak: int | None


def map_large_blocks() -> None:
    """Gives every tensor of a MiB and more pages of its own, so that the process's size is what tensors need.

    To be called before anything large is allocated. A heap with holes in it holds up to twice as much, another
    share each time. Nothing happens where the C library is not glibc.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)


def measure(operation: Callable[[], object], device: torch.device, repeats: int) -> Measurement:
    """Runs it once to warm up, then so many times; without numbers when it does not fit in memory."""
    try:
        operation()  # kernels are chosen, lasting buffers such as momentum are allocated
        before = _reset_peak(device)
        seconds = min(_seconds(operation, device) for _ in range(repeats))
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        return Measurement(None, None)
    return Measurement(seconds, _peak_since(before, device))


def multiply_adds(module: nn.Module, inputs: Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products of one forward pass, attention included.

    Counted on shapes alone, with the textbook form of attention: fused kernels repeat products of query and
    key where the value is wider than the key, which is not the method's cost.
    """
    shadow = on_shapes(module)
    with textbook_attention(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty_like(inputs, device="meta"))
    return int(counter.get_total_flops()) // 2


def calls_attention(module: nn.Module, inputs: Tensor) -> bool:
    """Return whether a forward pass uses `model.attention`, tried on shapes alone."""
    with attention_calls() as calls:
        on_shapes(module)(torch.empty_like(inputs, device="meta"))
    return bool(calls)


def lone_norms(module: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the batch norms that see a single value a channel, which they refuse to train on."""
    shadow = on_shapes(module)
    names: list[str] = []

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, seen: names.append(name) if seen[0][:, 0].numel() == 1 else None

    for name, part in shadow.named_modules():
        if isinstance(part, _BatchNorm):
            part.register_forward_pre_hook(note(name))
    shadow(torch.empty_like(inputs, device="meta"))
    return names


def on_shapes(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode that computes shapes and nothing else: no time, no memory."""
    return copy.deepcopy(module).to("meta").eval()


def _seconds(operation: Callable[[], object], device: torch.device) -> float:
    _synchronize(device)
    start = time.perf_counter()
    operation()
    _synchronize(device)
    return time.perf_counter() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> int | None:
    """Starts a new peak; returns the bytes that do not count. None where the system keeps no peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return 0
    try:
        # What earlier operations freed goes back to the system: else this one would seem to need nothing.
        ctypes.CDLL(None).malloc_trim(0)
        # man 5 proc: "To reset the peak resident set size to the process's current resident set size, write 5."
        Path("/proc/self/clear_refs").write_text("5")
        return _resident("VmRSS")
    except (AttributeError, OSError, TypeError):  # not Linux, not glibc, or not allowed
        return None


def _peak_since(before: int | None, device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return None if before is None else max(0, _resident("VmHWM") - before)


def _resident(field: str) -> int:
    """Bytes: `VmRSS` now, `VmHWM` at the peak."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"/proc/self/status has no {field}")
    return int(match[1]) * 1024
