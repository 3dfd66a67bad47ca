"""Index of a decoded cache: sizes and checksums of its pairs, and a hash of the files that it was made from."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from ocnet_pl.dataset.listing import unreadable
from ocnet_pl.dataset.reading import Bytes, Pair

BYTES_PER_PIXEL = 4  # three of the image, one of the label
_VERSION = 2


@dataclass
class CacheIndex:
    """Content of a decoded cache.

    Attributes:
        sources: hash of the files, see `sources_hash`.
        sizes: (height, width) of every pair.
        checksums: CRC-32 of the bytes of every pair.
    """

    sources: str
    sizes: list[tuple[int, int]]
    checksums: list[int]

    def __post_init__(self) -> None:
        lengths = [height * width * BYTES_PER_PIXEL for height, width in self.sizes]
        *self.starts, self.length = np.cumsum([0, *lengths]).tolist()

    def write(self, path: Path) -> None:
        """Write the index with its checksum as JSON."""
        content = {"sources": self.sources, "sizes": self.sizes, "checksums": self.checksums}
        path.write_text(json.dumps({**content, "sha256": _checksum(content)}), "utf-8")


def read_index(path: Path) -> CacheIndex:
    """Read an index.

    Raises:
        OSError: a file that cannot be read.
        ValueError: a file that is damaged or was edited.
    """
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict) or content.pop("sha256", None) != _checksum(content):
        raise ValueError(f"{path}: wrong checksum")
    return TypeAdapter(CacheIndex).validate_python(content)


def sources_hash(pairs: Sequence[Pair], table: Bytes) -> str:
    """Hash of the names, sizes and times of files, and of the table that reading labels depends on.

    Raises:
        UserError: a missing file.
    """
    digest = hashlib.sha256(f"{_VERSION}".encode() + table.tobytes())
    for pair in pairs:
        for path in pair:
            try:
                status = path.stat()
            except OSError as error:
                raise unreadable(path, error) from error
            digest.update(b"\n" + os.fsencode(path.absolute()) + f" {status.st_size} {status.st_mtime_ns}".encode())
    return digest.hexdigest()


def _checksum(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
