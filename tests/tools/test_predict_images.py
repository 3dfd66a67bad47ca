"""Images that the command line of `ocnet-predict` names, and the names of their results."""

from pathlib import Path

import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.tools.predict.images import find_images


@pytest.fixture
def place(workplace: Path) -> Path:
    for name in ("a/x.png", "a/deep/y.JPG", "a/notes.txt", "b/x.png", "results/masks/z.png", "empty/notes.txt"):
        path = workplace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return workplace


def names(*words: str) -> dict[str, str]:
    found = find_images(words, Path("results"))
    return {path.as_posix(): name for path, name in found.items()}


def test_a_single_file_keeps_its_name(place: Path) -> None:
    assert names("a/x.png") == {"a/x.png": "x"}
    assert names(str(place / "a" / ".." / "b" / "x.png")) == {str(place / "a" / ".." / "b" / "x.png"): "x"}


def test_a_folder_gives_all_its_images(place: Path) -> None:
    assert names("a") == {"a/deep/y.JPG": "deep/y", "a/x.png": "x"}


def test_equal_names_in_two_folders_stay_distinct(place: Path) -> None:
    assert names("a/x.png", "b/x.png") == {"a/x.png": "a/x", "b/x.png": "b/x"}
    assert names("a/deep", "b") == {"a/deep/y.JPG": "a/deep/y", "b/x.png": "b/x"}


def test_equal_names_with_two_suffixes_stay_distinct(place: Path) -> None:
    for name in ("b/x.jpg", "b/x.jpg.png"):  # the longer name of x.jpg exists too
        (place / name).touch()
    assert names("b") == {"b/x.jpg": "x.jpg", "b/x.jpg.png": "x.jpg.png", "b/x.png": "x.png"}


def test_an_image_is_listed_once(place: Path) -> None:
    assert names("a", "a/x.png", f"{place}/a/x.png", "a/*.png") == {"a/deep/y.JPG": "deep/y", "a/x.png": "x"}


def test_a_pattern_expands_as_in_a_shell(place: Path) -> None:
    assert names("*/x.png") == names("a/x.png", "b/x.png")
    assert set(names("a/**/*.JPG")) == {"a/deep/y.JPG"}
    assert names("[ab]") == names("a", "b")
    (place / "[1].png").touch()
    assert names("[1].png") == {"[1].png": "[1]"}


def test_results_are_not_inputs(place: Path) -> None:
    assert set(names(".")) == {"a/x.png", "a/deep/y.JPG", "b/x.png"}


def test_a_named_file_is_used_whatever_its_suffix(place: Path) -> None:
    assert names("a/notes.txt") == {"a/notes.txt": "notes"}


@pytest.mark.parametrize(
    ("word", "reason"), [("c", "no such file or folder"), ("c/*", "pattern matches nothing"), ("empty", "no images")]
)
def test_a_word_without_images_is_rejected(word: str, reason: str, place: Path) -> None:
    with pytest.raises(UserError, match=reason):
        names("a", word)
