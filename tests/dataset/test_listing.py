"""No file is skipped or added without a word."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import SHORT, Main
from trees import ade20k_tree, cityscapes_tree, folder_tree, lip_tree

from ocnet_pl.dataset import listing
from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.errors import UserError
from ocnet_pl.tools.data_check.check import check
from ocnet_pl.tools.data_check.report import Finding
from ocnet_pl.tools.predict.pictures import find_pictures

SIZES = {"train": [(32, 32)] * 3, "val": [(32, 32)] * 2}


def folder(root: Path) -> Folder:
    return Folder(str(root), classes=("a", "b", "c"), crop_size=(16, 16), num_workers=0)


DATA: dict[str, tuple[Callable[..., Path], Callable[[Path], SegmentationDataModule], str]] = {
    "folder": (folder_tree, folder, "images/train"),
    "cityscapes": (cityscapes_tree, lambda root: Cityscapes(str(root)), "leftImg8bit/train/town"),
    "ade20k": (ade20k_tree, lambda root: ADE20K(str(root)), "images/training"),
}
EVERY = pytest.mark.parametrize("name", DATA)


def images(name: str, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in DATA[name][1](root).image_files("train")]


def findings(data: SegmentationDataModule) -> list[Finding]:
    return check(data, 1, lambda more, total: None).findings


@EVERY
def test_litter_is_skipped(name: str, tmp_path: Path) -> None:
    make, module, place = DATA[name]
    root = make(tmp_path, **SIZES)
    before = images(name, root)
    first = sorted((root / place).iterdir())[0]
    for kind in ("images", "labels"):
        here = first.parent if kind == "images" else module(root).pairs("train")[0][1].parent
        own = first if kind == "images" else module(root).pairs("train")[0][1]
        (here / f"._{own.name}").write_bytes(b"\0\5\x16\7")
        (here / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (here / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
        for litter in (".ipynb_checkpoints", "__MACOSX", ".hidden"):
            (here / litter).mkdir()
            shutil.copy(own, here / litter / own.name)
            (here.parent / litter).mkdir(exist_ok=True)
            shutil.copy(own, here.parent / litter / own.name)
    assert images(name, root) == before
    assert not {finding.kind for finding in findings(module(root))} & {
        "label without its image", "duplicate image", "image cannot be read", "image without its label",
    }  # fmt: skip


@EVERY
def test_links_are_followed(name: str, tmp_path: Path) -> None:
    make, _, place = DATA[name]
    root = make(tmp_path / "tree", **SIZES)
    before = images(name, root)
    moved = (root / place).rename(tmp_path / "other disk")
    (root / place).symlink_to(moved)
    assert images(name, root) == before


def test_links_of_subfolders_are_followed(tmp_path: Path) -> None:
    root = folder_tree(tmp_path / "tree", **SIZES)
    for kind in ("images", "masks"):
        shutil.copytree(root / kind / "train", tmp_path / "disk" / kind)
        (root / kind / "train" / "evening").symlink_to(tmp_path / "disk" / kind)
        (root / kind / "train" / "again").symlink_to(root / kind)  # a link to a folder above
    found = [name.removeprefix("images/train/") for name in images("folder", root)]
    assert found == sorted([*(f"00{n}.jpg" for n in range(3)), *(f"evening/00{n}.jpg" for n in range(3))] + [
        f"again/val/00{n}.jpg" for n in range(2)
    ])  # fmt: skip


def test_pictures_behind_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = folder_tree(tmp_path / "tree", **SIZES)
    (tmp_path / "asked").mkdir()
    (tmp_path / "asked" / "link").symlink_to(root / "images")
    (tmp_path / "asked" / "._x.png").write_bytes(b"\0")
    (tmp_path / "asked" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "asked" / ".ipynb_checkpoints" / "x.png").write_bytes(b"\0")
    (tmp_path / "asked" / "Thumbs.db").write_bytes(b"\0")
    assert len(find_pictures(["asked/*"], tmp_path / "results")) == 5
    (tmp_path / "asked" / "link-to-itself").symlink_to(tmp_path / "asked")
    assert len(find_pictures(["asked"], tmp_path / "results")) == 5


@EVERY
def test_a_link_that_leads_nowhere_is_named(name: str, tmp_path: Path) -> None:
    make, module, place = DATA[name]
    root = make(tmp_path, **SIZES)
    (root / place / "evening").symlink_to(tmp_path / "disk2")
    with pytest.raises(UserError, match=r"evening: link to a missing .*; mount its disk"):
        module(root).pairs("train")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder_tree(tmp_path, **SIZES)
    iterdir = Path.iterdir

    def refuse(path: Path) -> Any:
        if path.name == "val":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(listing.Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"images/val: cannot be read \(Permission denied\)"):
        folder(root).pairs("val")


def test_a_name_longer_than_the_file_system_allows(tmp_path: Path) -> None:
    root = folder_tree(tmp_path, **SIZES)
    (root / "val.txt").write_text("a" * 300)
    with pytest.raises(UserError, match="cannot be read"):
        folder(root).pairs("val")


def write_list(root: Path, split: str, content: bytes) -> None:
    names = {"LIP": root / "TrainVal_images" / f"{split}_id.txt", "folder": root / f"{split}.txt"}
    names["LIP" if (root / "TrainVal_images").is_dir() else "folder"].write_bytes(content)


LISTS = pytest.mark.parametrize(
    ("make", "module", "names"),
    [
        (folder_tree, folder, ("train/000", "train/001")),
        (lip_tree, lambda root: LIP(str(root)), ("1_7", "2_14")),
    ],
    ids=["folder", "LIP"],
)


@LISTS
@pytest.mark.parametrize(
    "content",
    ["{0}\n{1}\n", "\ufeff{0}\n{1}", "{0}\r\n{1}\r\n", "\ufeff{0}\r\n\r\n  {1}  \r\n\n", "{0}\r{1}\r"],
    ids=["plain", "BOM", "CRLF", "all", "CR"],
)
def test_lists_of_any_system(
    tmp_path: Path, make: Callable[..., Path], module: Callable[[Path], Any], names: Any, content: str
) -> None:
    root = make(tmp_path, **SIZES)
    write_list(root, "train", content.format(*names).encode())
    assert [image.stem for image, _ in module(root).pairs("train")] == [Path(name).stem for name in names]


@LISTS
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"%s\n%s\n%s\n%s\n", "'{0}' 3 times; keep one line"),
        (b"caf\xe9\n", "is not a text file in UTF-8"),
        ("a\n".encode("utf-16"), "is not a text file in UTF-8"),
        (b"\n \r\n", "contains no names"),
    ],
    ids=["twice", "latin-1", "UTF-16", "empty"],
)
def test_wrong_lists_are_reported(
    tmp_path: Path, make: Callable[..., Path], module: Callable[[Path], Any], names: Any, content: bytes, words: str
) -> None:
    root = make(tmp_path, **SIZES)
    first, second = (name.encode() for name in names)
    write_list(root, "train", content % (first, second, first, first) if b"%" in content else content)
    with pytest.raises(UserError) as caught:
        module(root).pairs("train")
    assert words.format(*names) in str(caught.value)
    assert "train" in str(caught.value).split(":")[0]
    (error,) = [finding for finding in findings(module(root)) if finding.severity == "error"]
    assert words.format(*names) in error.message


def test_names_with_a_suffix_are_explained(tmp_path: Path) -> None:
    root = folder_tree(tmp_path, **SIZES)
    (root / "train.txt").write_text("train/000.jpg\ntrain/001.jpg\n")
    with pytest.raises(UserError, match=r"train.txt: 'train/000.jpg' has a suffix; write 'train/000'"):
        folder(root).pairs("train")


def test_a_comment_is_read_as_a_name(tmp_path: Path) -> None:
    root = folder_tree(tmp_path, **SIZES)
    (root / "train.txt").write_text("# of today\ntrain/000\n")
    with pytest.raises(UserError, match=r"# of today: no such file"):
        folder(root).pairs("train")


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """One folder of five images, and lists that share two of them."""
    root = tmp_path / "tree"
    made = folder_tree(tmp_path / "made", train=[(32, 32)] * 5)
    for kind in ("images", "masks"):
        shutil.copytree(made / kind / "train", root / kind)
    (root / "train.txt").write_text("000\n001\n002\n")
    (root / "val.txt").write_text("001\n002\n003\n")
    return root


def test_shared_images_of_two_lists(lists: Path, workplace: Path, call: Main, capsys: Any) -> None:
    tree = (f"dataset.root={lists}", "dataset.classes=[a,b,c]", "dataset.crop_size=[16,16]", "dataset.num_workers=0")
    assert call("train", *SHORT, "dataset=folder", *tree) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "001.jpg: is also trained on; val has 2 such images" in line
    assert call("data", "check", "dataset=folder", *tree, "--workers", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    (one,) = [finding for finding in found if finding["kind"] == "validation on training images"]
    assert "2 images of val" in one["message"]
    assert "001.jpg" in one["message"]


def test_masks_of_other_lists_have_images(lists: Path) -> None:
    """004 is in neither list, and stray has no image at all."""
    shutil.copy(lists / "masks/000.png", lists / "masks/stray.png")
    named = [finding.file for finding in findings(folder(lists)) if finding.kind == "label without its image"]
    assert named == [str(lists / "masks/stray.png")]


def test_names_need_not_be_utf8(
    tmp_path: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder_tree(tmp_path / "tree", **SIZES)
    for path in [*root.glob("images/*/*"), *root.glob("masks/*/*")]:
        path.rename(Path(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9_" + os.fsencode(path.name))))
    tree = (f"dataset.root={root}", "dataset.classes=[a,b,c]", "dataset.crop_size=[16,16]", "dataset.num_workers=0")
    assert call("train", *SHORT, "dataset=folder", *tree, f"dataset.cache={tmp_path}/cache") == 0
    assert call("data", "show", "dataset=folder", *tree, "--count", "2") == 0
    folder(root).pairs("train")[0][0].write_bytes(b"")
    capsys.readouterr()
    for options in (("--json",), ()):
        assert call("data", "check", "dataset=folder", *tree, "--workers", "1", *options) == 1
        assert "caf" in capsys.readouterr().out
