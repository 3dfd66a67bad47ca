"""GPUs of this machine, as the environment and the driver's own tool name them: no GPU is opened."""

import os
import re
import subprocess


def visible_gpus() -> list[str]:
    """Names in `CUDA_VISIBLE_DEVICES`, else the driver's indices; empty without a GPU."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        named = ",".join(_asked("index"))
    return [name for name in (part.strip() for part in named.split(",")) if name not in ("", "-1")]


def compute_capability() -> float | None:
    """Lowest compute capability of this machine's GPUs; None without a visible GPU."""
    numbers = [float(word) for word in _asked("compute_cap") if re.fullmatch(r"\d+\.\d+", word)]
    return min(numbers) if numbers and visible_gpus() else None


def _asked(field: str) -> list[str]:
    """A field of every GPU, as the driver's own tool prints it; empty without that tool."""
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []
