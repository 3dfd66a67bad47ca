"""GPUs of this machine, reserved for runs that are trained at the same time."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


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
