"""Settings that would make a training faster on this machine; none is ever set without being asked for."""

import re
import sys
from collections.abc import Collection
from pathlib import Path

from omegaconf import DictConfig

from ocnet_pl.run.gpus import compute_capability

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Flags of processors with matrix or vector units for bf16 (x86, x86, ARM) in /proc/cpuinfo."""
_CAPABLE = 8.0
"""Compute capability of the first GPUs with matrix units for bf16 and TF32."""
_LARGE = 256 * 256
"""Pixels of a crop from which these settings pay: below, the time is not that of the arithmetic."""


def print_advice(config: DictConfig) -> None:
    """Print one line on the settings that this machine would profit from and that a run does not set, if any."""
    gpu = None if config.trainer.accelerator == "cpu" else compute_capability()
    if settings := faster_settings(config, gpu, set() if gpu else processor_flags()):
        print(
            f"ocnet-train: this machine trains faster with {' '.join(settings)}; they change rounding: set the same "
            "for all runs of a table (docs/profile.md)",
            file=sys.stderr,
            flush=True,
        )


def faster_settings(config: DictConfig, gpu: float | None, flags: Collection[str]) -> list[str]:
    """Overrides that make a training faster.

    Args:
        config: config of a run.
        gpu: compute capability of the GPU that it trains on; None: the CPU.
        flags: flags of the processor.
    """
    crop = config.dataset.get("crop_size") or ()
    capable = gpu >= _CAPABLE if gpu is not None else bool(_BF16_FLAGS.intersection(flags))
    if not capable or not crop or crop[0] * crop[1] < _LARGE:
        return []
    settings = {
        "trainer.precision=bf16-mixed": str(config.trainer.precision).startswith("32"),
        "channels_last=true": not config.channels_last,
        "compile=true": gpu is not None and not config.compile,
    }
    return [setting for setting, pays in settings.items() if pays]


def processor_flags() -> set[str]:
    """Flags of the processor; empty where the system does not list them."""
    path = Path("/proc/cpuinfo")
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return set(match[1].split()) if match else set()
