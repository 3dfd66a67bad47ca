"""Files with the same content."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path


def same_content(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of files whose bytes are equal, in the given order.

    Only files of equal length are read. Empty and unreadable files are skipped.
    """
    by_hash: dict[str, list[Path]] = defaultdict(list)
    for files in _by_size(paths).values():
        for path in files if len(files) > 1 else ():
            with suppress(OSError), path.open("rb") as file:
                by_hash[hashlib.file_digest(file, "sha256").hexdigest()].append(path)
    return [group for group in by_hash.values() if len(group) > 1]


def shared_images(trained: Collection[Path], tested: Collection[Path]) -> list[tuple[Path, Path]]:
    """Test images that are also trained on: the same path, or another file with the same bytes.

    Returns:
        (training file, test file), in the order of the test files.
    """
    known = set(trained)
    others = [path for path in dict.fromkeys(tested) if path not in known]
    sizes = _by_size(others)
    alike = [path for size, files in _by_size(trained).items() if size in sizes for path in files]
    twins = {path: path for path in tested if path in known}
    for first, *rest in same_content([*alike, *others]):  # training files come first
        if first in known:
            twins |= {path: first for path in rest if path not in known}
    return [(twins[path], path) for path in dict.fromkeys(tested) if path in twins]


def _by_size(paths: Iterable[Path]) -> dict[int, list[Path]]:
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        with suppress(OSError):
            by_size[path.stat().st_size].append(path)
    by_size.pop(0, None)
    return by_size
