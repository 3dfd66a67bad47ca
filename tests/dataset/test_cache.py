"""The decoded cache gives the same samples, is built once, and is complete or absent."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trees import folder_tree

from ocnet_pl.dataset import cache as module
from ocnet_pl.dataset.cache import DecodedCache
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.reading import Pair, read_pair
from ocnet_pl.errors import UserError

TABLE = np.arange(256, dtype=np.uint8)
SIZES = {"train": [(40, 60), (64, 48), (32, 32)], "val": [(40, 60)]}


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Files of three sizes."""
    return Folder(str(folder_tree(tmp_path / "tree", **SIZES)), classes=("a", "b", "c")).pairs("train")


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Pair]:
    """What the cache decodes."""
    seen: list[Pair] = []
    monkeypatch.setattr(module, "read_pair", lambda pair, table: (seen.append(pair), read_pair(pair, table))[1])
    return seen


def prepared(tmp_path: Path, pairs: list[Pair]) -> DecodedCache:
    cache = DecodedCache(tmp_path / "cache", "test", pairs, TABLE)
    cache.prepare()
    return cache


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock"))


def test_arrays_are_those_of_the_files(tmp_path: Path, pairs: list[Pair]) -> None:
    cache = prepared(tmp_path, pairs)
    for reader in (cache, pickle.loads(pickle.dumps(cache)), prepared(tmp_path, pairs)):
        for pair in reversed(pairs):
            assert all(np.array_equal(*both) for both in zip(reader.read(pair), read_pair(pair, TABLE), strict=True))


def test_a_cache_is_built_once(tmp_path: Path, pairs: list[Pair], decodings: list[Pair]) -> None:
    for _ in range(3):
        prepared(tmp_path, pairs)
    assert sorted(decodings) == sorted(pairs)
    prepared(tmp_path, pairs[:2])  # other files, another cache
    assert len(left_behind(tmp_path)) == 2


def test_batches_are_the_same(tmp_path: Path, cityscapes_tree: Path) -> None:
    def batches(**settings: Any) -> Iterator[dict[str, torch.Tensor]]:
        data = Cityscapes(str(cityscapes_tree), crop_size=(24, 24), batch_size=4, num_workers=0, **settings)
        yield from data.training_dataloader(stop=5)
        yield from data.evaluation_dataloader("val")

    count = 0
    for plain, cached in zip(batches(), batches(cache=str(tmp_path / "cache")), strict=True):
        assert all(torch.equal(plain[key], cached[key]) for key in plain)
        count += 1
    assert count == 10
    assert [name.rsplit("-", 1)[0] for name in left_behind(tmp_path)] == ["cityscapes-train", "cityscapes-val"]


def test_workers_read_it(tmp_path: Path, cityscapes_tree: Path) -> None:
    def images(num_workers: int) -> list[torch.Tensor]:
        data = Cityscapes(
            str(cityscapes_tree),
            crop_size=(24, 24),
            batch_size=4,
            num_workers=num_workers,
            cache=str(tmp_path / "cache"),
        )
        return [batch["image"] for batch in data.training_dataloader(stop=3)]

    assert all(torch.equal(*both) for both in zip(images(0), images(2), strict=True))


def test_a_changed_file_rebuilds_the_cache(
    tmp_path: Path, pairs: list[Pair], decodings: list[Pair], capsys: pytest.CaptureFixture[str]
) -> None:
    prepared(tmp_path, pairs)
    shutil.copy(pairs[0][1], pairs[1][1])
    shutil.copy(pairs[0][0], pairs[1][0])
    cache = prepared(tmp_path, pairs)
    assert len(decodings) == 2 * len(pairs)
    assert np.array_equal(cache.read(pairs[1])[0], read_pair(pairs[0], TABLE)[0])
    assert len(left_behind(tmp_path)) == 1


def the_file(tmp_path: Path) -> Path:
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    return folder / "pixels"


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_damage_is_reported_on_reading(tmp_path: Path, pairs: list[Pair]) -> None:
    prepared(tmp_path, pairs)
    flip_a_byte(the_file(tmp_path))
    cache = prepared(tmp_path, pairs)
    with pytest.raises(UserError, match="damaged; delete it"):
        [cache.read(pair) for pair in pairs]


@pytest.mark.parametrize(
    "break_it",
    [
        lambda pixels: pixels.write_bytes(pixels.read_bytes()[:-1]),
        lambda pixels: pixels.unlink(),
        lambda pixels: (pixels.parent / "index.json").write_text("{"),
        lambda pixels: (pixels.parent / "index.json").write_text("[]"),
        lambda pixels: (pixels.parent / "index.json").unlink(),
    ],
)
def test_an_incomplete_cache_is_rebuilt(
    tmp_path: Path, pairs: list[Pair], break_it: Callable[[Path], object], decodings: list[Pair]
) -> None:
    prepared(tmp_path, pairs)
    break_it(the_file(tmp_path))
    cache = prepared(tmp_path, pairs)
    assert len(decodings) == 2 * len(pairs)
    assert np.array_equal(cache.read(pairs[0])[1], read_pair(pairs[0], TABLE)[1])


def edit(index: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(index.read_text())
    change(content)
    index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index["sizes"].reverse(),
        lambda index: index["sizes"][0].reverse(),
        lambda index: index["checksums"].reverse(),
        lambda index: index.update(sizes=[[60, 40], *index["sizes"][1:]]),
        lambda index: index.update(sha256="0" * 64),
        lambda index: index.pop("sha256"),
    ],
)
def test_an_edited_index_rebuilds_the_cache(
    tmp_path: Path, pairs: list[Pair], change: Callable[[dict[str, Any]], object], decodings: list[Pair]
) -> None:
    prepared(tmp_path, pairs)
    edit(the_file(tmp_path).parent / "index.json", change)
    cache = prepared(tmp_path, pairs)
    assert len(decodings) == 2 * len(pairs)
    for pair in pairs:
        assert all(np.array_equal(*both) for both in zip(cache.read(pair), read_pair(pair, TABLE), strict=True))


def test_another_table_rebuilds_the_cache(tmp_path: Path, pairs: list[Pair], decodings: list[Pair]) -> None:
    """Which of two readings a label gets depends on it."""
    prepared(tmp_path, pairs)
    DecodedCache(tmp_path / "cache", "test", pairs, TABLE[::-1].copy()).prepare()
    assert len(decodings) == 2 * len(pairs)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_read_only_cache_of_another_user_is_read(
    tmp_path: Path, pairs: list[Pair], error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(tmp_path, pairs)
    monkeypatch.setattr(module.FileLock, "acquire", raising(error))
    assert np.array_equal(prepared(tmp_path, pairs).read(pairs[0])[1], read_pair(pairs[0], TABLE)[1])
    os.utime(pairs[0][0], (1, 1))
    with pytest.raises(UserError, match=rf"cache={tmp_path}.*: cannot be written \({error.strerror}\)"):
        prepared(tmp_path, pairs)


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    return fail


def test_a_file_system_without_locks(tmp_path: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.FileLock, "acquire", raising(NotImplementedError("no flock")))
    with pytest.raises(UserError, match=r"cannot be written \(no flock\)"):
        prepared(tmp_path, pairs)


def test_a_deleted_cache_is_reported(tmp_path: Path, pairs: list[Pair]) -> None:
    cache = prepared(tmp_path, pairs)
    shutil.rmtree(cache.folder)
    with pytest.raises(UserError, match=r"cannot be read .*; rerun"):
        cache.read(pairs[0])


@pytest.mark.parametrize("name", ["x" * 300, "ü" * 200, "caf\udce9", "a/b", "../up"])
def test_any_name_works(tmp_path: Path, pairs: list[Pair], name: str) -> None:
    cache = DecodedCache(tmp_path / "cache", name, pairs, TABLE)
    cache.prepare()
    assert cache.folder.parent == tmp_path / "cache"
    assert np.array_equal(cache.read(pairs[0])[0], read_pair(pairs[0], TABLE)[0])


def test_file_names_need_not_be_utf8(tmp_path: Path, pairs: list[Pair]) -> None:
    odd = [
        tuple(Path(os.fsdecode(os.fsencode(path.parent) + b"/\xe9" + os.fsencode(path.name))) for path in pair)
        for pair in pairs
    ]
    for pair, others in zip(pairs, odd, strict=True):
        for path, other in zip(pair, others, strict=True):
            path.rename(other)
    image, label = prepared(tmp_path, odd).read(odd[0])
    assert image.shape[:2] == label.shape == (40, 60)


def test_a_full_disk_is_reported_first(tmp_path: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    needed = 4 * (40 * 60 + 64 * 48 + 32 * 32)
    with pytest.raises(UserError, match=rf"disk is full.*needs {needed:,} bytes, 1,000 are free"):
        prepared(tmp_path, pairs)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up(tmp_path: Path, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    write, written = os.pwrite, []

    def pwrite(file: int, content: bytes, offset: int) -> int:
        if len(written) == 3:
            raise OSError(number, os.strerror(number))
        written.append(offset)
        return write(file, content[:1000], offset)  # as much as there is room for

    monkeypatch.setattr(module.os, "pwrite", pwrite)
    with pytest.raises(UserError, match=r"disk is full.*bytes"):
        prepared(tmp_path, pairs)
    assert left_behind(tmp_path) == []
    monkeypatch.setattr(module.os, "pwrite", write)
    assert np.array_equal(prepared(tmp_path, pairs).read(pairs[2])[0], read_pair(pairs[2], TABLE)[0])


def test_leftovers_of_a_killed_process_are_ignored(tmp_path: Path, pairs: list[Pair]) -> None:
    cache = DecodedCache(tmp_path / "cache", "test", pairs, TABLE)
    unfinished = cache.folder.with_name(f".{cache.folder.name}.unfinished")
    unfinished.mkdir(parents=True)
    (unfinished / "pixels").write_bytes(b"half")
    cache.prepare()
    assert left_behind(tmp_path) == [cache.folder.name]
    assert np.array_equal(cache.read(pairs[0])[0], read_pair(pairs[0], TABLE)[0])


def test_a_bad_file_is_reported(tmp_path: Path, pairs: list[Pair]) -> None:
    pairs[1][0].write_bytes(pairs[1][0].read_bytes()[:200])
    with pytest.raises(UserError, match=r"001\.jpg: cannot be decoded"):
        prepared(tmp_path, pairs)
    assert left_behind(tmp_path) == []


def test_a_file_in_place_of_the_folder(tmp_path: Path, pairs: list[Pair]) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UserError, match="cannot be written"):
        prepared(tmp_path, pairs)


MAKER = """
import sys
from pathlib import Path
import numpy as np
from ocnet_pl.dataset import cache as module
decoded = []
read_pair = module.read_pair
module.read_pair = lambda pair, table: (decoded.append(pair), read_pair(pair, table))[1]
images = sorted(Path(sys.argv[1]).glob("images/train/*"))
pairs = [(image, Path(sys.argv[1]) / "masks/train" / f"{image.stem}.png") for image in images]
cache = module.DecodedCache(Path(sys.argv[2]), "test", pairs, np.arange(256, dtype=np.uint8))
print("ready", flush=True)
sys.stdin.readline()
cache.prepare()
print(len(decoded), sum(int(array.sum()) for pair in pairs for array in cache.read(pair)))
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    root = folder_tree(tmp_path / "tree", train=[(200, 300)] * 40)
    command = [sys.executable, "-c", MAKER, str(root), str(tmp_path / "cache")]
    makers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for maker in makers:
        assert maker.stdout is not None
        assert maker.stdout.readline() == "ready\n"
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write("\n")
        maker.stdin.flush()
    results = [maker.communicate(timeout=120)[0].split() for maker in makers]
    assert sorted(int(decoded) for decoded, _ in results) == [0, 40]
    assert results[0][1] == results[1][1]
    assert len(left_behind(tmp_path)) == 1
