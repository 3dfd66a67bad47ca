"""Files are written whole or not at all, under their own names and permissions."""

import errno
import os
from pathlib import Path

import pytest

from ocnet_pl.atomic import UNFINISHED, refuse_unwritable, whole_file, write_text


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "a" * 251 + ".png", "b" * 240 + ".json", "kurz.csv"])
def test_a_name_near_the_limit_is_written(tmp_path: Path, name: str) -> None:
    refuse_unwritable(tmp_path / name)
    write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "whole"


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128])
def test_a_name_beyond_the_limit_is_named(tmp_path: Path, name: str) -> None:
    for write in (refuse_unwritable, lambda path: write_text(path, "never")):
        with pytest.raises(OSError, match=r".") as caught:
            write(tmp_path / name)
        assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, str(tmp_path / name))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "new", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    path.chmod(mode)
    write_text(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", mode)


def test_of_a_link_the_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "target").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "target").read_text() == "new"


def test_a_device_is_written_to_and_stays_one() -> None:
    refuse_unwritable(Path("/dev/null"))
    write_text(Path("/dev/null"), "away")
    assert Path("/dev/null").is_char_device()


def test_a_write_protected_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write to any
    for write in (refuse_unwritable, lambda path: write_text(path, "new")):
        with pytest.raises(PermissionError) as caught:
            write(path)
        assert caught.value.filename == str(path)
    assert path.read_text() == "old"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("half"), OSError(errno.ENOSPC, "No space left")])
def test_what_fails_leaves_the_old_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)) as caught:
        fail()
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path), "a full disk does not say which file"
    assert path.read_text() == "old"
    assert not list(tmp_path.glob(f".*{UNFINISHED}"))


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    for write in (refuse_unwritable, lambda path: write_text(path, "never")):
        with pytest.raises(IsADirectoryError) as caught:
            write(tmp_path)
        assert caught.value.filename == str(tmp_path)
