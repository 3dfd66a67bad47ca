"""What decides the class in the two kinds of scenes, and that nothing else gives it away."""

import numpy as np
import pytest
from torchvision.datasets import Cityscapes as Official

from ocnet_pl.dataset.demo import Demo
from ocnet_pl.dataset.scenes import KINDS, draw_scene

IDS = {c.name: c.id for c in Official.classes}
VEHICLES = [IDS[name] for name in ("car", "truck", "bus", "train")]
SIZE = (56, 160)


def scenes(kind: str, count: int = 60) -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_scene(np.random.default_rng(seed), SIZE, kind) for seed in range(count)]


def ground_colours(kind: str) -> dict[str, np.ndarray]:
    """Mean colours (N, 3) of the ground in the scenes of each ground."""
    found: dict[str, list[np.ndarray]] = {"road": [], "terrain": []}
    for image, label in scenes(kind):
        for name, colours in found.items():
            if (label == IDS[name]).any():
                colours.append(image[label == IDS[name]].mean(0))
    return {name: np.array(colours) for name, colours in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_both_kinds_have_all_classes(kind: str) -> None:
    """A class that a split lacks would count IoU 0 for a single pixel of it in the predictions."""
    drawn = set(np.unique([label for _, label in scenes(kind)]))
    assert drawn == {IDS[name] for name in (*Demo.classes, "ego vehicle")}


def test_the_sky_decides_the_ground_in_all_scenes() -> None:
    for kind in KINDS:
        for image, label in scenes(kind):
            clear = image[label == IDS["sky"]].mean(0)[2] > 200  # blue, not brown
            assert (label == IDS["road"]).any() == clear
            assert (label == IDS["terrain"]).any() != clear


def test_the_ground_shows_its_class_only_where_the_object_decides() -> None:
    plain, puzzle = ground_colours("needs_object"), ground_colours("needs_scene")
    assert abs(plain["road"].mean(0) - plain["terrain"].mean(0)).max() > 50
    assert abs(puzzle["road"].mean(0) - puzzle["terrain"].mean(0)).max() < 1


def test_a_long_vehicle_has_one_badge_and_its_colour_says_nothing() -> None:
    colours: dict[int, list[np.ndarray]] = {number: [] for number in VEHICLES}
    for image, label in scenes("needs_object"):
        if len(found := set(np.unique(label)) & set(VEHICLES)) < 2:
            continue  # both vehicles are of one class
        for number in found:
            box = image[label == number].astype(int)
            body = np.median(box, 0)
            badge = abs(box - body).max(1) > 60
            assert 0 < badge.mean() < 0.15, "the badge is small"
            colours[number].append(body)
    hues = {number: np.array(of).mean(0) for number, of in colours.items()}
    assert all(abs(one - other).max() < 60 for one in hues.values() for other in hues.values())


def test_a_short_vehicle_is_covered_with_its_badge() -> None:
    for image, label in scenes("needs_scene"):
        (number,) = set(np.unique(label)) & set(VEHICLES)
        columns = np.flatnonzero((label == number).any(0))
        body = np.median(image[label == number].astype(int), 0)
        painted = ((abs(image.astype(int) - body).max(2) > 60) & (label == number)).any(0)
        gaps = np.diff(np.flatnonzero(painted), prepend=columns[0], append=columns[-1])
        assert gaps.max() < 20
