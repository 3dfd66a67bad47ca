"""Pictures that a command line names, and the name of each in the results."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ocnet_pl.dataset.listing import files_below, is_litter
from ocnet_pl.dataset.reading import IMAGE_SUFFIXES
from ocnet_pl.errors import UserError


def find_pictures(words: Sequence[str], results: Path) -> dict[Path, str]:
    """Files, images anywhere below folders, and what patterns match: each once, with a unique name.

    The name is the path, without suffix, below the deepest folder that holds all that was asked for. Where two would
    be the same (`a.jpg`, `a.png`), every name keeps its suffix.

    Args:
        words: paths and patterns (`*`, `?`, `[...]`, and `**` for any number of folders).
        results: folder of the results, in which no picture is looked for.

    Raises:
        UserError: a word that means no picture.
    """
    roots: list[str] = []
    pictures: dict[str, Path] = {}
    for path in _expanded(words):
        roots.append(_absolute(path if path.is_dir() else path.parent))
        for picture in _below(path, results) if path.is_dir() else [path]:
            pictures.setdefault(_absolute(picture), picture)
    base = os.path.commonpath(roots)
    full = [Path(os.path.relpath(picture, base)) for picture in pictures]
    short = [path.with_suffix("") for path in full]
    names = short if len(set(short)) == len(full) else full
    return {picture: name.as_posix() for picture, name in zip(pictures.values(), names, strict=True)}


def _expanded(words: Sequence[str]) -> Iterator[Path]:
    """Files and folders."""
    for word in words:
        if Path(word).exists():
            yield Path(word)
        elif matches := [path for path in _matches(word) if not is_litter(path.name)]:
            yield from matches
        else:
            raise UserError(f"{word}: no such file or folder, and no pattern that matches one; check how it is written")


def _matches(pattern: str) -> list[Path]:
    return [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207 (Path.glob: no absolute ones)


def _below(folder: Path, results: Path) -> list[Path]:
    inside = (path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    own = f"{_absolute(results)}{os.sep}"
    if found := [path for path in inside if not _absolute(path).startswith(own)]:
        return found
    raise UserError(f"{folder}: no image in this folder; expected names that end in {', '.join(IMAGE_SUFFIXES)}")


def _absolute(path: Path) -> str:
    """Path without `..`; links stay, since a user sees their names."""
    return os.path.abspath(path)  # noqa: PTH100
