"""What the words of `ocnet-predict` mean, and how results are called."""

from pathlib import Path

import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.tools.predict.pictures import find_pictures


@pytest.fixture
def place(workplace: Path) -> Path:
    for name in ("a/x.png", "a/deep/y.JPG", "a/notes.txt", "b/x.png", "results/masks/z.png", "empty/notes.txt"):
        path = workplace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return workplace


def names(*words: str) -> dict[str, str]:
    found = find_pictures(words, Path("results"))
    return {path.as_posix(): name for path, name in found.items()}


def test_one_file_is_called_as_it_is(place: Path) -> None:
    assert names("a/x.png") == {"a/x.png": "x"}
    assert names(str(place / "a" / ".." / "b" / "x.png")) == {str(place / "a" / ".." / "b" / "x.png"): "x"}


def test_a_folder_gives_all_its_images(place: Path) -> None:
    assert names("a") == {"a/deep/y.JPG": "deep/y", "a/x.png": "x"}


def test_the_same_name_in_two_folders_stays_two(place: Path) -> None:
    assert names("a/x.png", "b/x.png") == {"a/x.png": "a/x", "b/x.png": "b/x"}
    assert names("a/deep", "b") == {"a/deep/y.JPG": "a/deep/y", "b/x.png": "b/x"}


def test_two_suffixes_stay_two(place: Path) -> None:
    for name in ("b/x.jpg", "b/x.jpg.png"):  # what x.jpg could be called is there too
        (place / name).touch()
    assert names("b") == {"b/x.jpg": "x.jpg", "b/x.jpg.png": "x.jpg.png", "b/x.png": "x.png"}


def test_a_picture_is_taken_once(place: Path) -> None:
    assert names("a", "a/x.png", f"{place}/a/x.png", "a/*.png") == {"a/deep/y.JPG": "deep/y", "a/x.png": "x"}


def test_a_pattern_is_what_the_shell_makes_of_it(place: Path) -> None:
    assert names("*/x.png") == names("a/x.png", "b/x.png")
    assert set(names("a/**/*.JPG")) == {"a/deep/y.JPG"}
    assert names("[ab]") == names("a", "b")
    (place / "[1].png").touch()
    assert names("[1].png") == {"[1].png": "[1]"}


def test_results_are_no_pictures(place: Path) -> None:
    assert set(names(".")) == {"a/x.png", "a/deep/y.JPG", "b/x.png"}


def test_what_is_asked_for_by_name_is_tried(place: Path) -> None:
    assert names("a/notes.txt") == {"a/notes.txt": "notes"}


@pytest.mark.parametrize(
    ("word", "told"), [("c", "no such file or folder"), ("c/*", "no pattern"), ("empty", "no image")]
)
def test_a_word_that_means_nothing_is_told(word: str, told: str, place: Path) -> None:
    with pytest.raises(UserError, match=told):
        names("a", word)
