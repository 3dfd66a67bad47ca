"""The GPUs of this machine, lent to runs that go side by side."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


def visible_gpus() -> list[str]:
    """As `CUDA_VISIBLE_DEVICES` names them, else as the driver numbers them; empty where there is none."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        try:
            told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError):
            return []
        named = ",".join(told.split())
    return [name for name in (part.strip() for part in named.split(",")) if name not in ("", "-1")]


@contextmanager
def borrowed(gpus: Sequence[str], count: int, *, every: float = 1.0) -> Iterator[list[str]]:
    """Waits until so many of the GPUs are lent to nobody, and keeps them from others until the end of the block.

    A lock file for each in the system's temporary folder: a borrower that is killed gives its GPUs back.

    Args:
        gpus: to choose from.
        count: how many; at most all of them.
        every: seconds between looks.
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
