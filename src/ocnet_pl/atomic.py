"""Atomic file writes: a reader sees the complete file or none."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

UNFINISHED = ".unfinished"
"""Suffix of a file that is being written; only a killed process leaves one behind."""

_KEPT_OF_NAME = 24
"""Characters of a file's name that its unfinished form keeps, because file systems limit the length of names."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing; it replaces an older file atomically when the block ends.

    If the block fails, e.g. on a full disk, the old file is kept. A new file gets the permissions of the umask, a
    replaced file keeps its own. For a symbolic link, the target is replaced; a device such as /dev/null is written to.

    Raises:
        OSError: the file cannot be written; its `filename` is `path`.
    """
    target = path.resolve() if path.is_symlink() else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # opening raises for a folder, and works for a device
            with target.open("wb") as file:
                yield file
            return
        unfinished = _begin(target)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    try:
        with unfinished.open("r+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(unfinished)):
            error.filename, error.filename2 = str(path), None
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, atomically.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(path) as file:
        file.write(text.encode())


def refuse_unwritable(*paths: Path) -> None:
    """Check that files can be written, before their content is computed or any of them is replaced.

    Raises:
        OSError: a file cannot be written; `filename` is its path.
    """
    for path in paths:
        target = path.resolve() if path.is_symlink() else path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not target.exists() or target.is_file():
                _begin(target).unlink()
        except OSError as error:
            error.filename, error.filename2 = str(path), None
            raise


def _begin(target: Path) -> Path:
    """Create the unfinished form of a file in the same folder, because renaming is atomic only within a file system."""
    mode = None
    if target.exists():  # raises if the name is too long
        if not os.access(target, os.W_OK):  # renaming would replace it anyway
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        mode = stat.S_IMODE(target.stat().st_mode)
    unfinished = target.with_name(f".{target.name[:_KEPT_OF_NAME]}.{secrets.token_hex(4)}{UNFINISHED}")
    unfinished.open("xb").close()
    if mode is not None:
        with suppress(PermissionError):  # a file system without permissions
            unfinished.chmod(mode)
    return unfinished
