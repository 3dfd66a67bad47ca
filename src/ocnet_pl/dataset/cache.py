"""Decoded images on disk, memory-mapped: what is read again and again is decoded once."""

import errno
import hashlib
import json
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

from ocnet_pl.dataset.listing import unreadable
from ocnet_pl.dataset.reading import Bytes, Pair, Wanted, read_pair, read_size
from ocnet_pl.drawing.progress import progress_bar
from ocnet_pl.errors import UserError
from ocnet_pl.process import all_cores

_VERSION = 2
_LONGEST_NAME = 100
"""Bytes of a folder's name before its hash: file systems allow 255, of which locks and unfinished folders need some."""
_BYTES_A_PIXEL = 4  # three of the image, one of the label


class DecodedCache:
    """Images and labels of some files as bytes in one file, each pair as its image (H, W, 3) and then its label (H, W).

    It is whole or not there: it is written to another folder, which gets its name in the end. It is made again when
    one of the files changes its size or its time, or when its index does not have its checksum; and every pair is
    compared with its checksum when a process reads it for the first time. Several processes may start together: one
    makes it, the others wait. A whole cache is only read, and may belong to somebody else.

    Args:
        parent: folder of all caches; this one gets a folder in it.
        name: first part of the name of that folder.
        pairs: files of image and label.
        table: stored id -> train id, (256,), which reading labels depends on.
    """

    def __init__(self, parent: Path, name: str, pairs: Sequence[Pair], table: Bytes) -> None:
        names = b"\n".join(os.fsencode(path.absolute()) for pair in pairs for path in pair)
        readable = os.fsencode(name.replace(os.sep, "-"))[:_LONGEST_NAME].decode(errors="ignore")
        self.folder = parent / f"{readable}-{hashlib.sha256(names).hexdigest()[:12]}"
        self.pairs = list(pairs)
        self.table = table
        self._numbers = {pair: number for number, pair in enumerate(self.pairs)}
        self._sizes: list[tuple[int, int]] = []
        self._starts: list[int] = []
        self._needed = 0
        self._checksums: list[int] = []
        self._checked: set[int] = set()
        self._bytes: Bytes | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is no fork maps the file itself.
        return self.__dict__ | {"_bytes": None, "_checked": set()}

    def read(self, pair: Pair, wanted: Wanted | None = None) -> tuple[Bytes, Bytes]:
        """Image (H, W, 3) and stored ids (H, W), not to be written to.

        Raises:
            UserError: other bytes than were written.
        """
        number = self._numbers[pair]
        if self._bytes is None:
            self._bytes = self._mapped()
        (height, width), start = self._sizes[number], self._starts[number]
        found = self._bytes[start : start + height * width * _BYTES_A_PIXEL]
        if number not in self._checked:
            if zlib.crc32(found.data) != self._checksums[number]:
                raise UserError(f"{self.folder}: damaged; delete it, and it will be made again")
            self._checked.add(number)
        image, label = np.split(found, [height * width * 3])
        return image.reshape(height, width, 3), label.reshape(height, width)

    def _mapped(self) -> Bytes:
        try:
            return np.asarray(np.memmap(self.folder / "pixels", np.uint8, "r"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.folder}: cannot be read ({error}); start again, and it will be made again"
            ) from error

    def prepare(self) -> None:
        """Makes the cache, unless it is there.

        Raises:
            UserError: a file that cannot be read, or no space for the cache.
        """
        if self._open(self._sources()) is None:
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                sources = self._sources()
                if (why := self._open(sources)) is not None:
                    self._make(sources, why)
        except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._disk_full() from error
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(
                f"dataset.cache={self.folder.parent}: cannot be written ({reason}); give another folder, or null"
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self.folder.with_name(f".{self.folder.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"dataset.cache: waiting for the process that makes {self.folder}", file=sys.stderr)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _make(self, sources: str, why: str) -> None:
        with ThreadPoolExecutor(all_cores()) as pool:
            self._lay_out(list(pool.map(read_size, (image for image, _ in self.pairs))))
        unfinished = self.folder.with_name(f".{self.folder.name}.unfinished")
        for old in (self.folder, unfinished):
            shutil.rmtree(old, ignore_errors=True)
        if shutil.disk_usage(self.folder.parent).free < self._needed:
            raise self._disk_full()
        try:
            unfinished.mkdir()
            self._fill(unfinished / "pixels", why)
            index = {"sources": sources, "sizes": self._sizes, "checksums": self._checksums}
            (unfinished / "index.json").write_text(json.dumps({**index, "sha256": _checksum(index)}), "utf-8")
            unfinished.rename(self.folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _sources(self) -> str:
        """A hash of names, sizes and times of the files, and of what reading them depends on beside."""
        digest = hashlib.sha256(f"{_VERSION}".encode() + self.table.tobytes())
        for pair in self.pairs:
            for path in pair:
                try:
                    found = path.stat()
                except OSError as error:
                    raise unreadable(path, error) from error
                digest.update(b"\n" + os.fsencode(path.absolute()) + f" {found.st_size} {found.st_mtime_ns}".encode())
        return digest.hexdigest()

    def _open(self, sources: str) -> str | None:
        """Takes the cache that is there; None when it is whole and of these files, else what is wrong."""
        if not self.folder.exists():
            return "first use"
        try:
            index = json.loads((self.folder / "index.json").read_text("utf-8"))
            if index.pop("sha256") != _checksum(index):
                return "it was damaged"
            if index["sources"] != sources:
                return "the files have changed"
            self._lay_out([(height, width) for height, width in index["sizes"]])
            self._checksums = index["checksums"]
            if (self.folder / "pixels").stat().st_size == self._needed:
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # whatever is wrong with it, it is made again
        return "it was damaged"

    def _lay_out(self, sizes: list[tuple[int, int]]) -> None:
        ends = np.cumsum([0] + [height * width * _BYTES_A_PIXEL for height, width in sizes]).tolist()
        self._sizes, self._starts, self._needed = sizes, ends[:-1], ends[-1]

    def _fill(self, path: Path, why: str) -> None:
        with path.open("wb") as file, progress_bar() as progress:
            task = progress.add_task(f"decoding into {self.folder} ({why})", total=len(self.pairs))
            pool = ThreadPoolExecutor(all_cores())  # decoders and writing let other threads run
            try:
                self._checksums = []
                for checksum in pool.map(lambda number: self._write(file.fileno(), number), range(len(self.pairs))):
                    self._checksums.append(checksum)
                    progress.advance(task)
            finally:
                pool.shutdown(cancel_futures=True)
            os.fsync(file.fileno())

    def _write(self, file: int, number: int) -> int:
        image, label = read_pair(self.pairs[number], self.table)
        if label.shape != self._sizes[number]:
            raise UserError(f"{self.pairs[number][0]}: its size changed while it was read")
        content = memoryview(image.tobytes() + label.tobytes())
        done = 0
        while done < len(content):
            done += os.pwrite(file, content[done:], self._starts[number] + done)
        return zlib.crc32(content)

    def _disk_full(self) -> UserError:
        free = shutil.disk_usage(self.folder.parent).free
        return UserError(
            f"dataset.cache={self.folder.parent}: the disk is full: the cache of {len(self.pairs)} images needs "
            f"{self._needed:,} bytes, {free:,} are free; give another folder or leave dataset.cache out"
        )


def _checksum(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()
