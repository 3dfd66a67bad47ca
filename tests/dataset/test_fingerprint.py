"""The identity of a split: the same wherever the files lie, another as soon as one of them is another."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import folder_tree

from ocnet_pl.dataset.fingerprint import Fingerprint, fingerprint
from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.reading import Pair
from ocnet_pl.errors import UserError
from ocnet_pl.record.images import SplitImages

SIZES = {"train": [(40, 60), (64, 48), (32, 32)], "val": [(40, 60)]}


def pairs_of(root: Path, split: str = "train") -> list[Pair]:
    return Folder(str(root), classes=("a", "b", "c")).pairs(split)


def of(root: Path, split: str = "train") -> Fingerprint:
    return fingerprint(pairs_of(root, split), root)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return folder_tree(tmp_path / "tree", **SIZES)


def test_a_moved_data_set_stays_the_same(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of(tree)
    assert before.summary() == SplitImages(3, before.sha256)
    assert of(Path(shutil.copytree(tree, tmp_path / "elsewhere" / "copy"))) == before
    (tmp_path / "link").symlink_to(tree)
    assert of(tmp_path / "link") == before
    monkeypatch.chdir(tmp_path)
    assert of(Path("tree")) == before


def swap_pixels(path: Path) -> None:
    """Other content of the same length."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "change",
    [
        lambda pair: swap_pixels(pair[0]),
        lambda pair: swap_pixels(pair[1]),
        lambda pair: pair[0].write_bytes(pair[0].read_bytes() + b"\0"),
        lambda pair: Image.new("L", (48, 64), 1).save(pair[1]),
    ],
)
def test_a_changed_file_is_seen(tree: Path, change: Callable[[Pair], object]) -> None:
    before, pair = of(tree), pairs_of(tree)[1]
    change(pair)
    after = of(tree)
    assert after.sha256 != before.sha256
    assert [here == there for here, there in zip(before.keys, after.keys, strict=True)] == [True, False, True]


def test_names_and_order_count(tree: Path) -> None:
    before, pairs = of(tree), pairs_of(tree)
    assert fingerprint(pairs[::-1], tree).sha256 != before.sha256
    assert set(fingerprint(pairs[::-1], tree).keys) == set(before.keys)
    for path in pairs[0]:
        path.rename(path.with_stem("renamed"))
    after = of(tree)
    assert set(after.keys) & set(before.keys) == set(before.keys[1:])
    assert set(after.images) == set(before.images), "the pictures are still those"


def test_one_picture_has_one_key_in_every_split(tree: Path) -> None:
    shutil.copy(pairs_of(tree)[2][0], pairs_of(tree, "val")[0][0])
    train, val = of(tree), of(tree, "val")
    assert val.images == train.images[2:]
    assert not set(val.keys) & set(train.keys)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".png"])
@pytest.mark.parametrize("place", [0, 0.3, 0.5, 0.9, 1])
def test_large_files_of_one_size(tmp_path: Path, suffix: str, place: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    top = int(place * 300)
    keys = []
    for value in (3, 200):
        pixels[top : top + 100] = np.random.default_rng(value).integers(0, 255, (100, 400, 3), dtype=np.uint8)
        path = tmp_path / f"x{suffix}"
        Image.fromarray(pixels).save(path)
        keys.append(fingerprint([(path, tmp_path / "none.png")], tmp_path).images[0])
    assert keys[0] != keys[1]


def test_names_that_are_no_utf8_and_files_elsewhere(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    path.write_bytes(b"x")
    inside = fingerprint([(path, path)], tmp_path)
    assert inside == fingerprint([(path, path)], tmp_path)
    assert fingerprint([(path, path)], tmp_path / "root").images == inside.images


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.png: cannot be read"):
        fingerprint([(tmp_path / "gone.png", tmp_path / "gone.png")], tmp_path)
