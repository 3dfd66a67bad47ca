"""Find the images that a command line names, and name their results."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ocnet_pl.dataset.listing import files_below, is_litter
from ocnet_pl.dataset.reading import IMAGE_SUFFIXES
from ocnet_pl.errors import UserError


def find_images(words: Sequence[str], results: Path) -> dict[Path, str]:
    """Files, images anywhere below folders, and matches of patterns: each once, with a unique name.

    The name is the path without suffix below the deepest folder that contains all images. If two names would be equal
    (`a.jpg`, `a.png`), all names keep their suffixes.

    Args:
        words: paths and patterns (`*`, `?`, `[...]`, and `**` for any number of folders).
        results: folder of the results, in which no image is searched.

    Raises:
        UserError: a word without images.
    """
    roots: list[str] = []
    images: dict[str, Path] = {}
    for path in _expanded(words):
        roots.append(_absolute(path if path.is_dir() else path.parent))
        for image in _below(path, results) if path.is_dir() else [path]:
            images.setdefault(_absolute(image), image)
    base = os.path.commonpath(roots)
    full = [Path(os.path.relpath(image, base)) for image in images]
    short = [path.with_suffix("") for path in full]
    names = short if len(set(short)) == len(full) else full
    return {image: name.as_posix() for image, name in zip(images.values(), names, strict=True)}


def _expanded(words: Sequence[str]) -> Iterator[Path]:
    """Files and folders."""
    for word in words:
        if Path(word).exists():
            yield Path(word)
            continue
        paths = sorted(map(Path, glob.glob(word, recursive=True)))  # noqa: PTH207 (Path.glob takes no absolute patterns)
        matches = [path for path in paths if not is_litter(path.name)]
        if not matches:
            raise UserError(f"{word}: no such file or folder, and the pattern matches nothing; check the spelling")
        yield from matches


def _below(folder: Path, results: Path) -> list[Path]:
    inside = (path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    own = f"{_absolute(results)}{os.sep}"
    if found := [path for path in inside if not _absolute(path).startswith(own)]:
        return found
    raise UserError(f"{folder}: contains no images; expected names that end in {', '.join(IMAGE_SUFFIXES)}")


def _absolute(path: Path) -> str:
    """Path without `..`; symbolic links are kept, because users know files by these names."""
    return os.path.abspath(path)  # noqa: PTH100
