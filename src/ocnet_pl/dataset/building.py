"""Folders that are built atomically, once for all processes."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ocnet_pl.errors import UserError


@contextmanager
def building(folder: Path, argument: str) -> Iterator[Path]:
    """Lock a folder for building; yields the place to build it, `.NAME.unfinished`, which does not exist yet.

    The block checks again whether the folder is complete, and renames the unfinished folder at the end.

    Args:
        folder: folder to build; its parent is created.
        argument: argument and value that chose the folder, for the error.

    Raises:
        UserError: the folder cannot be written.
    """
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"waiting for the process that builds {folder}", file=sys.stderr)
            lock.acquire()
        try:
            shutil.rmtree(unfinished, ignore_errors=True)
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
            lock.release()
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{argument}: cannot be written ({reason}); choose another folder") from error
