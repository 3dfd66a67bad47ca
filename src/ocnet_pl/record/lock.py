"""Lock of a folder that can be inspected without being taken.

On Linux, an open file description lock (fcntl(2), F_OFD_SETLK) on `.lock`: the kernel releases it when its process ends
in any way, and network file systems pass it on to other machines. Unlike flock(2), it can be queried without being
taken (F_OFD_GETLK). The existence of `.lock` means nothing.

File systems and platforms without such locks use `.lease`: a file that its holder renews, and that counts as abandoned
after `LEASE_SECONDS` without renewal.
"""

import errno
import fcntl
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

LOCK, LEASE = ".lock", ".lease"

LEASE_SECONDS = 120.0
"""Longer than network file systems cache the time of a file (a minute)."""

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL}
_STRUCT_FLOCK = "hhqqi4x"  # l_type, l_whence, l_start, l_len (0: the whole file), l_pid (0 in these requests)


class LockedError(Exception):
    """Another process holds the lock."""


@contextmanager
def locked(folder: Path, patience: float = 0.0, every: float = 0.05) -> Iterator[None]:
    """Hold a folder's lock within the block.

    Args:
        folder: existing folder.
        patience: seconds to wait for another process.
        every: seconds between attempts.

    Raises:
        LockedError: another process holds it.
        OSError: the lock's file cannot be written.
    """
    until = time.monotonic() + patience
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        while (taken := _take(handle)) is False:
            if time.monotonic() >= until:
                raise LockedError
            time.sleep(every)
        if taken is None:
            with _leased(folder, patience):
                yield
            return
        if _is_leased(folder):  # by a machine without locks
            raise LockedError
        try:
            yield
        finally:
            _set(handle, fcntl.F_UNLCK)  # closing is not enough if a forked process holds the file open
    finally:
        os.close(handle)


def is_locked(folder: Path) -> bool:
    """Return whether a process holds a folder's lock, without taking it or writing anything.

    A lock file that this user may not read counts as not held; taking such a lock raises an error.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _is_leased(folder)
    try:
        return _held_by_another(handle) or _is_leased(folder)
    finally:
        os.close(handle)


def _take(handle: int) -> bool | None:
    """Return whether the lock was taken; None if the file system or platform has no such locks."""
    try:
        _set(handle, fcntl.F_WRLCK)
    except (AttributeError, OSError) as error:  # AttributeError: a platform without F_OFD_SETLK
        if isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        return None
    return True


def _set(handle: int, kind: int) -> None:
    fcntl.fcntl(handle, fcntl.F_OFD_SETLK, struct.pack(_STRUCT_FLOCK, kind, os.SEEK_SET, 0, 0, 0))


def _held_by_another(handle: int) -> bool:
    question = struct.pack(_STRUCT_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        answer = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, question)
    except (AttributeError, OSError):
        return False
    return bool(struct.unpack(_STRUCT_FLOCK, answer)[0] != fcntl.F_UNLCK)


@contextmanager
def _leased(folder: Path, patience: float) -> Iterator[None]:
    # A lease of another machine is recognised as abandoned by waiting that long for its renewal.
    abandoned = (folder / LEASE).exists() and not _is_leased(folder)
    lease = SoftFileLease(
        folder / LEASE,
        lease_duration=LEASE_SECONDS,
        heartbeat_interval=LEASE_SECONDS / 6,
        on_compromise=lambda _: os.kill(os.getpid(), signal.SIGTERM),  # another process works here: stop
        timeout=1.5 * LEASE_SECONDS if abandoned else patience,
    )
    try:
        lease.acquire()
    except Timeout:
        raise LockedError from None
    try:
        yield
    finally:
        lease.release()


def _is_leased(folder: Path) -> bool:
    try:
        return time.time() - (folder / LEASE).stat().st_mtime < LEASE_SECONDS
    except OSError:
        return False
