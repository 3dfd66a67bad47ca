"""The demo's tree on disks that cannot be written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from ocnet_pl.dataset import demo
from ocnet_pl.dataset.demo import Demo
from ocnet_pl.errors import UserError


def made(root: Path) -> Demo:
    return Demo(str(root), image_size=(32, 64), num_images={"train": 2, "val": 1})


def refuse(*arguments: Any, **named: Any) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_read_only_tree_of_another_user_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "demo").prepare_data()
    monkeypatch.setattr(FileLock, "acquire", refuse)
    module = made(tmp_path / "demo")
    module.prepare_data()
    assert len(module.pairs("train")) == 2
    with pytest.raises(UserError, match=r"root=.*: cannot be written \(Permission denied\)"):
        made(tmp_path / "other").prepare_data()


def test_a_full_disk_is_reported_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(demo.Path, "write_bytes", full)
        with pytest.raises(UserError, match="No space left"):
            made(tmp_path / "demo").prepare_data()
    made(tmp_path / "demo").prepare_data()
    assert len(made(tmp_path / "demo").pairs("val")) == 1


@pytest.mark.parametrize("content", ["{", "[", "\udce9"])
def test_a_damaged_stamp_is_reported(tmp_path: Path, content: str) -> None:
    made(tmp_path / "demo").prepare_data()
    (tmp_path / "demo" / "demo.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"demo.json: cannot be read"):
        made(tmp_path / "demo").prepare_data()


def test_the_colours_of_the_classes_can_be_told_apart() -> None:
    colours = Demo.palette.astype(int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(len(colours), dtype=int)
    assert apart.min() > 80, "in Cityscapes' palette, bus and train differ by 20"
