"""GPUs of this machine, reserved for runs that are trained at the same time."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def visible_gpus() -> list[str]:
    """Names in `CUDA_VISIBLE_DEVICES`, else the driver's indices; empty without a GPU."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        named = ",".join(_asked("index"))
    return [name for name in (part.strip() for part in named.split(",")) if name not in ("", "-1")]


def compute_capability() -> float | None:
    """Lowest compute capability of this machine's GPUs; None without a visible GPU. It opens no GPU."""
    numbers = [float(word) for word in _asked("compute_cap") if re.fullmatch(r"\d+\.\d+", word)]
    return min(numbers) if numbers and visible_gpus() else None


def _asked(field: str) -> list[str]:
    """A field of every GPU, as the driver's own tool prints it; empty without that tool."""
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []


@contextmanager
def borrowed(gpus: Sequence[str], count: int, *, every: float = 1.0) -> Iterator[list[str]]:
    """Wait until enough GPUs are free, and reserve them until the end of the block.

    Each GPU has a lock file in the system's temporary folder: a process that is killed releases its GPUs.

    Args:
        gpus: GPUs to choose from.
        count: number of GPUs; at most all of them.
        every: seconds between attempts.
    """
    while True:
        with ExitStack() as locks:
            got: list[str] = []
            for gpu in gpus:
                if len(got) < count and _try(locks, gpu):
                    got.append(gpu)
            if len(got) == min(count, len(gpus)):
                yield got
                return
        time.sleep(every)


def _try(locks: ExitStack, gpu: str) -> bool:
    path = Path(tempfile.gettempdir()) / f"ocnet-gpu-{gpu.replace('/', '-')}.lock"
    try:
        locks.enter_context(FileLock(path, blocking=False, mode=0o666))
    except Timeout:
        return False
    return True
