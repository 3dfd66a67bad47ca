"""Files that are one and the same image."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def same_content(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of two files and more whose bytes are equal, in the order given.

    Only files of equal length are read. Files that are empty or cannot be opened are left out.
    """
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        with suppress(OSError):
            by_size[path.stat().st_size].append(path)
    by_hash: dict[str, list[Path]] = defaultdict(list)
    for size, files in by_size.items():
        for path in files if size and len(files) > 1 else ():
            with suppress(OSError), path.open("rb") as file:
                by_hash[hashlib.file_digest(file, "sha256").hexdigest()].append(path)
    return [group for group in by_hash.values() if len(group) > 1]
