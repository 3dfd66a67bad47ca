"""Measure multiply-adds, time and peak memory of a module in this process."""

import copy
import ctypes
import gc
import platform
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
"""Constant of glibc's malloc.h."""


@dataclass(frozen=True)
class Measurement:
    """Time and memory of an operation; None if they could not be measured.

    Attributes:
        seconds: time of the fastest repetition.
        peak: peak memory in bytes; on a GPU all allocated memory including weights, on a CPU the growth of the process.
    """

    seconds: float | None
    peak: int | None


def map_large_blocks() -> None:
    """Map every tensor of at least 1 MiB separately, so that the size of the process is the size of its tensors.

    Call it before anything large is allocated; a fragmented heap holds up to twice as much. It needs glibc.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 2**20)


def measure(
    operation: Callable[[], object],
    device: torch.device,
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Measurement:
    """Measure an operation after a warm-up; the numbers are None if it does not fit into memory.

    `clock` returns seconds: `time.process_time` counts those of the processor, also on a busy machine.
    """
    try:
        operation()  # selects kernels, and allocates lasting buffers, e.g. momentum
        before = _reset_peak(device)
        seconds = min(_seconds(operation, device, clock) for _ in range(repeats))
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        return Measurement(None, None)
    return Measurement(seconds, _peak_since(before, device))


def multiply_adds(module: nn.Module, inputs: Tensor) -> int:
    """Multiply-adds of the convolutions and matrix products of one forward pass, attention included.

    Uses only shapes, and textbook attention: fused kernels repeat products of query and key if the value is wider
    than the key, which is not a cost of the method.
    """
    shadow = on_shapes(module)
    with textbook_attention(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty_like(inputs, device="meta"))
    return int(counter.get_total_flops()) // 2


def calls_attention(module: nn.Module, inputs: Tensor) -> bool:
    """Return whether a forward pass uses `model.attention`; uses only shapes."""
    with attention_calls() as calls:
        on_shapes(module)(torch.empty_like(inputs, device="meta"))
    return bool(calls)


def lone_norms(module: nn.Module, inputs: Tensor) -> list[str]:
    """Names of the batch norms that get a single value per channel, and cannot train on it."""
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
    """Copy in evaluation mode on the meta device: it computes shapes, without time and memory."""
    return copy.deepcopy(module).to("meta").eval()


def processor_name() -> str:
    """Name of the CPU, if the system reports it."""
    path = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return match[1] if match else platform.processor() or "unknown processor"


def _seconds(operation: Callable[[], object], device: torch.device, clock: Callable[[], float]) -> float:
    _synchronize(device)
    start = clock()
    operation()
    _synchronize(device)
    return clock() - start


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> int | None:
    """Reset the peak, and return the bytes to subtract from it; None if the system reports no peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return 0
    try:
        # Return freed memory to the system; reusing it would not count.
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
    """Bytes of a field: `VmRSS` is the current size, `VmHWM` the peak."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    if match is None:
        raise OSError(f"/proc/self/status has no {field}")
    return int(match[1]) * 1024
