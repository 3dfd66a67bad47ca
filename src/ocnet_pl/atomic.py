"""Atomic file writes: a file is there whole or not at all."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

UNFINISHED = ".unfinished"
"""End of the name of a file that is being written; left behind only by a process that was killed."""

_KEPT_OF_NAME = 24
"""Characters of a file's name in the name of its unfinished form, which must stay below the file system's limit."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open for writing; takes its name when the block ends, and the place of an older file in the same instant.

    A reader never sees half a file. When the block fails, on a full disk for example, the old one stays. A new file
    gets the permissions that the umask leaves, a replaced one keeps its own. Of a symbolic link the target is
    replaced, and a device such as /dev/null is written to.

    Raises:
        OSError: the file cannot be written; its `filename` is `path`.
    """
    target = path.resolve() if path.is_symlink() else path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # a folder raises here, a device takes it
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
    """Write a text file in UTF-8.

    Raises:
        OSError: the file cannot be written.
    """
    with whole_file(path) as file:
        file.write(text.encode())


def refuse_unwritable(*paths: Path) -> None:
    """Try whether files can be written, before anything is computed for them or any of them is replaced.

    Raises:
        OSError: one of them cannot; its `filename` is that path.
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
    """Create the unfinished form of a file, in the same folder: renaming is atomic within a file system only."""
    mode = None
    if target.exists():  # raises where the name is too long
        if not os.access(target, os.W_OK):  # renaming would replace it all the same
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        mode = stat.S_IMODE(target.stat().st_mode)
    unfinished = target.with_name(f".{target.name[:_KEPT_OF_NAME]}.{secrets.token_hex(4)}{UNFINISHED}")
    unfinished.open("xb").close()
    if mode is not None:
        with suppress(PermissionError):  # a file system without permissions
            unfinished.chmod(mode)
    return unfinished
