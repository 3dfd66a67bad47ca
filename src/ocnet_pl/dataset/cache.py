"""Decoded images and labels on disk, memory-mapped, so that each file is decoded once."""

import errno
import hashlib
import os
import shutil
import sys
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ocnet_pl.dataset.cache_index import BYTES_PER_PIXEL, CacheIndex, read_index, sources_hash
from ocnet_pl.dataset.reading import Bytes, Pair, read_pair, read_size
from ocnet_pl.drawing.progress import progress_of
from ocnet_pl.errors import UserError
from ocnet_pl.process import all_cores

_LONGEST_NAME = 100
"""Bytes of a folder's name before its hash; file systems allow 255, and locks and unfinished folders need some."""


class DecodedCache:
    """Image (H, W, 3) and label (H, W) of each pair of files, one after the other in one file of bytes.

    The cache is written atomically: into another folder, which is renamed at the end. It is rebuilt if one of the files
    changes its size or time, or if its index does not match its checksum. The checksum of every pair is verified when a
    process first reads it. If several processes start together, one builds the cache and the others wait. A complete
    cache is only read, and may belong to another user.

    Args:
        parent: folder of all caches; each has a folder in it.
        name: first part of the name of that folder.
        pairs: files of image and label.
        table: stored id -> train id, (256,), on which reading labels depends.
    """

    def __init__(self, parent: Path, name: str, pairs: Sequence[Pair], table: Bytes) -> None:
        names = b"\n".join(os.fsencode(path.absolute()) for pair in pairs for path in pair)
        readable = os.fsencode(name.replace(os.sep, "-"))[:_LONGEST_NAME].decode(errors="ignore")
        self.folder = parent / f"{readable}-{hashlib.sha256(names).hexdigest()[:12]}"
        self.pairs = list(pairs)
        self.table = table
        self._positions = {pair: position for position, pair in enumerate(self.pairs)}
        self._index: CacheIndex | None = None
        self._verified: set[int] = set()
        self._bytes: Bytes | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A spawned worker maps the file itself.
        return self.__dict__ | {"_bytes": None, "_verified": set()}

    def read(self, pair: Pair) -> tuple[Bytes, Bytes]:
        """Image (H, W, 3) and stored ids (H, W), both read-only.

        Raises:
            UserError: the bytes do not match their checksum.
        """
        assert self._index is not None, "prepare() comes first"
        if self._bytes is None:
            self._bytes = self._mapped()
        position = self._positions[pair]
        (height, width), start = self._index.sizes[position], self._index.starts[position]
        both = self._bytes[start : start + height * width * BYTES_PER_PIXEL]
        if position not in self._verified:
            if zlib.crc32(both.data) != self._index.checksums[position]:
                raise UserError(f"{self.folder}: the cache is damaged; delete it and rerun, which rebuilds it")
            self._verified.add(position)
        image, label = np.split(both, [height * width * 3])
        return image.reshape(height, width, 3), label.reshape(height, width)

    def _mapped(self) -> Bytes:
        try:
            return np.asarray(np.memmap(self.folder / "pixels", np.uint8, "r"))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder}: cannot be read ({error}); rerun the command, which rebuilds it") from error

    def prepare(self) -> None:
        """Open the cache; build it first unless it is complete.

        Raises:
            UserError: a file that cannot be read, or no space for the cache.
        """
        if self._open(sources_hash(self.pairs, self.table)) is None:
            return
        parent = self.folder.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.folder):
                sources = sources_hash(self.pairs, self.table)
                if (reason := self._open(sources)) is not None:
                    self._index = self._build(sources, reason)
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UserError(f"cache={parent}: cannot be written ({reason}); choose another folder, or null") from error

    def _open(self, sources: str) -> str | None:
        """Open an existing cache; None if it is complete and of these files, else the reason to build it."""
        if not self.folder.exists():
            return "first use"
        try:
            index = read_index(self.folder / "index.json")
            if index.sources != sources:
                return "the files have changed"
            if (self.folder / "pixels").stat().st_size == index.length:
                self._index = index
                return None
        except (OSError, ValueError):
            pass  # any damage: it is rebuilt
        return "it was damaged"

    def _build(self, sources: str, reason: str) -> CacheIndex:
        with ThreadPoolExecutor(all_cores()) as pool:
            sizes = list(pool.map(read_size, (image for image, _ in self.pairs)))
        index = CacheIndex(sources, sizes, [])
        unfinished = self.folder.with_name(f".{self.folder.name}.unfinished")
        for old in (self.folder, unfinished):
            shutil.rmtree(old, ignore_errors=True)
        if shutil.disk_usage(self.folder.parent).free < index.length:
            raise self._disk_full(index)
        try:
            unfinished.mkdir()
            self._fill(unfinished / "pixels", index, reason)
            index.write(unfinished / "index.json")
            unfinished.rename(self.folder)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._disk_full(index) from error
            raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return index

    def _fill(self, path: Path, index: CacheIndex, reason: str) -> None:
        description = f"decoding into {self.folder} ({reason})"
        with path.open("wb") as file, progress_of(description, len(self.pairs)) as advance:
            pool = ThreadPoolExecutor(all_cores())  # decoding and writing release the GIL
            try:
                pairs = zip(self.pairs, index.sizes, index.starts, strict=True)
                for checksum in pool.map(lambda pair: self._write(file.fileno(), *pair), pairs):
                    index.checksums.append(checksum)
                    advance()
            finally:
                pool.shutdown(cancel_futures=True)
            os.fsync(file.fileno())

    def _write(self, file: int, pair: Pair, size: tuple[int, int], start: int) -> int:
        image, label = read_pair(pair, self.table)
        if label.shape != size:
            raise UserError(f"{pair[0]}: the file changed while it was read; rerun the command")
        content = memoryview(image.tobytes() + label.tobytes())
        done = 0
        while done < len(content):
            done += os.pwrite(file, content[done:], start + done)
        return zlib.crc32(content)

    def _disk_full(self, index: CacheIndex) -> UserError:
        free = shutil.disk_usage(self.folder.parent).free
        return UserError(
            f"cache={self.folder.parent}: the disk is full: the cache of {len(self.pairs)} images needs "
            f"{index.length:,} bytes, {free:,} are free; choose another folder, or leave cache out"
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"cache: waiting for the process that builds {folder}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
