"""User errors and interruptions, printed as one line without a traceback."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ocnet_pl.escaping import printable

EXIT_INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""
EXIT_BROKEN_PIPE = 141
"""Exit code when the reader of the output has gone, as shells have it: 128 + SIGPIPE."""


class UserError(Exception):
    """Wrong input. The message is one line: where, what is wrong, and what to do."""

    def __str__(self) -> str:
        # A DataLoader worker's error arrives wrapped in the worker's traceback; its last line is ours.
        return super().__str__().rsplit("UserError: ", 1)[-1].strip()


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """End the process with one line on stderr when a `UserError` (exit code 2) or Ctrl-C (130) leaves the block.

    File system errors that the user can fix do the same (2). If the reader of the output has exited (`| head`), the
    process ends silently (141). Any other exception is a bug and keeps its traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        _end(command, f"error: {error}", 2)
    except KeyboardInterrupt:
        _end(command, "interrupted", EXIT_INTERRUPTED)
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # raised by rich
            raise SystemExit(EXIT_BROKEN_PIPE) from None
        raise
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            raise SystemExit(EXIT_BROKEN_PIPE) from None
        if error.filename is None or error.errno not in _REMEDIES:
            raise
        _end(command, f"error: {unusable(error)}", 2)


def unusable(error: OSError) -> str:
    """One line about an error of the file system: path, reason and remedy."""
    remedy = _REMEDIES.get(error.errno or 0, "give another path")
    return f"{os.fsdecode(error.filename or '')}: {error.strerror or error}; {remedy}"


@contextmanager
def readable_os_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system into one line.

    Args:
        path: file to name if the error names none.

    Raises:
        UserError: any `OSError` in the block.
    """
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise UserError(unusable(error)) from error


_PERMISSION = "change its permissions, or give another path"
_ROOM = "free some space and rerun the same command"
_REMEDIES = {
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "the file system is read-only; give a path on another one",
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EISDIR: "give the path of a file",
    errno.ENOTDIR: "a file is in the way; move it, or give another path",
    errno.ENOENT: "restore it, or give another path",
    errno.EEXIST: "a file is in the way; move it, or give another path",
    errno.ELOOP: "a symbolic link points to itself; give another path",
    errno.EIO: "check the disk",
    errno.ESTALE: "the network file system lost it; rerun the same command",
    errno.ETXTBSY: "another process uses it; give another path",
}
"""Remedies for errors of the file system that the user can fix; other errors are bugs."""


def _end(command: str, message: str, code: int) -> None:
    with suppress(BrokenPipeError):
        print(f"{command}: {printable(' '.join(message.split()))}", file=sys.stderr)
    raise SystemExit(code) from None


def _reader_has_gone() -> bool:
    """Return whether stdout is the broken pipe; if so, drop the remaining output, so that Python can exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False
