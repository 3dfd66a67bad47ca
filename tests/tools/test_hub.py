"""Checkpoints of the Hugging Face Hub, from a cache in the Hub's own form; nothing is downloaded."""

import pickle
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
from conftest import Main, checkpoint
from huggingface_hub import constants
from PIL import Image

import ocnet_pl
from ocnet_pl.errors import UserError
from ocnet_pl.hub import local_file

ADDRESS = "hf://user/repo/base/last.ckpt"
COMMIT = 40 * "a"


@pytest.fixture
def cache(tmp_path: Path, runs: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The Hub's cache after a download of a repository with a checkpoint; returns the repository's folder."""
    folder = tmp_path / "hub" / "models--user--repo"
    (folder / "snapshots" / COMMIT / "base").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    shutil.copy(checkpoint(runs, "base_oc"), folder / "snapshots" / COMMIT / "base" / "last.ckpt")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder.parent))
    return folder / "snapshots" / COMMIT


def test_an_address_is_a_file_of_the_cache(cache: Path) -> None:
    assert local_file(ADDRESS) == cache / "base" / "last.ckpt"
    assert local_file(f"hf://user/repo@{COMMIT}/base/last.ckpt") == cache / "base" / "last.ckpt"
    assert local_file("a/last.ckpt") == Path("a/last.ckpt")


def test_a_network_of_the_hub_predicts_as_its_file(cache: Path, runs: Path, tmp_path: Path, call: Main) -> None:
    image = np.random.default_rng(0).integers(256, size=(40, 56, 3), dtype=np.uint8)
    expected = ocnet_pl.load(checkpoint(runs, "base_oc")).predict(image)
    assert np.array_equal(ocnet_pl.load(ADDRESS).predict(image), expected)
    Image.fromarray(image).save(tmp_path / "photo.png")
    out = ("--out", str(tmp_path / "out"), "--no-overlay")
    assert call("predict", ADDRESS, str(tmp_path / "photo.png"), *out) == 0
    assert (tmp_path / "out" / "masks" / "photo.png").is_file()


@pytest.mark.parametrize(
    "arguments",
    [("predict", "photo.png"), ("evaluate",), ("explore figure",), ("explore serve",), ("export", "network.pt2")],
    ids=lambda arguments: arguments[0],
)
def test_every_command_says_what_cannot_be_downloaded(
    arguments: tuple[str, ...], cache: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (8, 8)).save("photo.png")
    command, *words = arguments[0].split()
    assert call(command, *words, "hf://user/repo/other.ckpt", *arguments[1:]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "hf://user/repo/other.ckpt: cannot be downloaded (" in line


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("hf://repo", "expected hf://user/repo/last.ckpt"),
        ("hf://", "expected hf://user/repo/last.ckpt"),
        ("hf://user/repo", "expected a file"),
        ("hf://datasets/user/repo/last.ckpt", "repository of models"),
        ("hf://user/../last.ckpt", "expected hf://user/repo/last.ckpt"),
    ],
)
def test_an_address_that_names_no_file_is_refused(address: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        local_file(address)
    assert str(caught.value).startswith(f"{address}: ")
    assert words in str(caught.value)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("raise SystemExit('executed')",))


def test_a_downloaded_file_is_as_untrusted_as_any(cache: Path) -> None:
    import torch

    torch.save({"config": Evil()}, cache / "base" / "last.ckpt", pickle_module=pickle)
    with pytest.raises(UserError, match="more than weights"):
        ocnet_pl.load(ADDRESS)


def test_errors_of_the_library_are_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.LocalEntryNotFoundError("401 Unauthorized.\n\nRepository Not Found")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", failing)
    with pytest.raises(UserError) as caught:
        local_file(ADDRESS)
    assert "401 Unauthorized" in str(caught.value)
    assert "\n" not in str(caught.value)
