"""File names of a data set: files below a folder, or lines of a list."""

import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ocnet_pl.errors import UserError

_LITTER = ("__MACOSX", "Thumbs.db", "desktop.ini")


def is_litter(name: str) -> bool:
    """Test for a name that systems and tools leave behind, e.g. `._x.png` or `.ipynb_checkpoints`."""
    return name.startswith(".") or name in _LITTER


def files_below(folder: Path) -> list[Path]:
    """Sorted files anywhere below a folder, links to folders followed; litter is skipped.

    Raises:
        UserError: a folder that cannot be listed, or a broken link.
    """
    return sorted(_walk(folder, frozenset()))


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    try:
        found = folder.stat()
        paths = [path for path in folder.iterdir() if not is_litter(path.name)]
    except FileNotFoundError:
        return  # the caller says what it expects there
    except OSError as error:
        raise unreadable(folder, error) from error
    here = above | {(found.st_dev, found.st_ino)}
    for path in paths:
        try:
            inside = path.stat()
        except FileNotFoundError:
            raise UserError(f"{path}: link to a missing file or folder; mount its disk, or delete the link") from None
        except OSError as error:
            raise unreadable(path, error) from error
        if not stat.S_ISDIR(inside.st_mode):
            yield path
        elif (inside.st_dev, inside.st_ino) not in here:  # a link to a folder above would never end
            yield from _walk(path, here)


def is_file(path: Path) -> bool:
    """Test for a file, links followed.

    Raises:
        UserError: its folder may not be read, or its name is too long for the file system.
    """
    try:
        return path.is_file()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> UserError:
    """Error for a file or folder that the system cannot read."""
    return UserError(f"{path}: cannot be read ({error.strerror}); check its permissions, or copy it again")


def read_list(path: Path) -> list[str]:
    """Names in a list file, one per line; empty lines, a byte order mark and Windows line ends are ignored.

    Raises:
        UserError: a file that cannot be read, is not UTF-8, is empty, or holds a name more than once.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file in UTF-8; save it in that encoding") from None
    except OSError as error:
        raise unreadable(path, error) from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"{path}: contains no names; write one per line")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        repeated = sum(uses > 1 for uses in Counter(names).values())
        more = f", and {repeated - 1} more names repeatedly" if repeated > 1 else ""
        raise UserError(f"{path}: contains {name!r} {count} times{more}; keep one line per image")
    return names
