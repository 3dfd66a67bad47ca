"""Files that are there whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

UNFINISHED = ".unfinished"
"""End of the name of a file that is being written; left behind only by a process that was killed."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open for writing; takes its name when the block ends, and the place of an older file in the same instant.

    A reader never sees half a file. When the block fails, on a full disk for example, the old one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: renaming is atomic within a file system only.
    handle, name = tempfile.mkstemp(UNFINISHED, f".{path.name}.", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
