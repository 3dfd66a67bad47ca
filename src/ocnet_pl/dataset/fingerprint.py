"""Fingerprints: the identity of the images of a split, independent of the location of the data set."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from ocnet_pl.dataset.listing import is_file
from ocnet_pl.dataset.reading import Pair
from ocnet_pl.errors import readable_os_errors
from ocnet_pl.record.images import Fingerprint

_WHOLE = 1 << 16
"""Files up to this many bytes are hashed in full."""
_BLOCK = 1 << 12
_BLOCKS_BETWEEN = 8
_ENDS_IN_A_CHECKSUM = (b"\x89PNG", b"\xff\xd8\xff")
"""First bytes of PNG and JPEG, in which any change of the pixels changes the last bytes."""
_THREADS = 16
_DIGITS = 32


def fingerprint(pairs: Sequence[Pair], root: Path) -> Fingerprint:
    """Fingerprint of the files of a split; reads at most 64 KiB of each file, usually 8.

    Args:
        pairs: files of image and label. A label may be missing, as in the test split of a benchmark.
        root: folder of the data set; keys do not depend on it.

    Raises:
        UserError: an image that cannot be read.
    """
    with ThreadPoolExecutor(_THREADS) as pool:
        images = list(pool.map(file_hash, (image for image, _ in pairs)))
        labels = list(pool.map(_hash_label, (label for _, label in pairs)))
    names = [_name(image, root) for image, _ in pairs]
    keys = [_hash(name, *map(str.encode, files)) for name, *files in zip(names, images, labels, strict=True)]
    return Fingerprint(tuple(keys), tuple(images))


def target_fingerprint(pairs: Sequence[Pair], root: Path, source: Callable[[Pair], bytes]) -> Fingerprint:
    """Fingerprint of a target of the images of a split; it has no images of its own.

    Args:
        pairs: files of image and label.
        root: folder of the data set.
        source: files -> what the target is read from.

    Raises:
        UserError: a target that cannot be read.
    """
    return Fingerprint(tuple(_hash(_name(pair[0], root), source(pair)) for pair in pairs), ())


def _name(path: Path, root: Path) -> bytes:
    """Path below the root; for files elsewhere, the last folder and the name."""
    relative = path.relative_to(root) if path.is_relative_to(root) else Path(path.parent.name, path.name)
    return os.fsencode(relative.as_posix())  # names need not be UTF-8


def _hash_label(path: Path) -> str:
    return file_hash(path) if is_file(path) else ""


def file_hash(path: Path) -> str:
    """Hash of a file of an image, label or mask, as in a fingerprint."""
    with readable_os_errors(path), path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        return _hash(str(size).encode(), *_parts(file, size))


def _parts(file: BinaryIO, size: int) -> list[bytes]:
    if size <= _WHOLE:
        return [file.read()]
    start = file.read(_BLOCK)
    between = 0 if start.startswith(_ENDS_IN_A_CHECKSUM) else _BLOCKS_BETWEEN
    last = size - _BLOCK
    parts = [start]
    for block in range(1, between + 2):
        file.seek(last * block // (between + 1))
        parts.append(file.read(_BLOCK))
    return parts


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.hexdigest()[:_DIGITS]
