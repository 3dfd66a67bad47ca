"""The comparison on made-up tables of seven rows: how often a table without any difference shows one, and the power."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ocnet_pl.metrics import mean_iou
from ocnet_pl.statistics import (
    CHANCE,
    ImageVariance,
    borrowed_difference,
    freedom_of_labels,
    holm,
    iou_without_each,
    miou_without_each,
    variance,
)

ROWS = 7
PIXELS = 2000


@dataclass(frozen=True)
class Setting:
    """How the counts of a table vary; spreads are shares of 1.

    Attributes:
        seed_sd: spread of a run's skill, by row.
        image_sd: spread over images of what a row finds easier than the others; all its seeds share it.
        own_sd: the same for a single run.
        seeds: number of runs by row.
        images: number of images.
        rare: number of classes that only the first three images have.
        gain: how much better the last row is.
    """

    seed_sd: tuple[float, ...] = (0.01,) * ROWS
    image_sd: float = 0.02
    own_sd: float = 0.02
    seeds: tuple[int, ...] = (3,) * ROWS
    images: int = 60
    classes: int = 8
    rare: int = 0
    gain: float = 0.0


def made_up(setting: Setting, rng: np.random.Generator) -> list[np.ndarray]:
    """Counts of every row (seeds, images, 3, K)."""
    difficulty = rng.normal(0, 0.1, (1, setting.images, 1))
    rows = []
    for row, (seeds, seed_sd) in enumerate(zip(setting.seeds, setting.seed_sd, strict=True)):
        luck = rng.normal(0, seed_sd, (seeds, 1, 1)) + setting.gain * (row == ROWS - 1)
        easier = rng.normal(0, setting.image_sd, (1, setting.images, setting.classes))
        own = rng.normal(0, setting.own_sd, (seeds, setting.images, setting.classes))
        share = np.clip(0.7 + difficulty + luck + easier + own, 0.02, 0.98)
        hits = rng.binomial(PIXELS, share)
        misses = PIXELS - hits
        if setting.rare:
            hits[:, 3:, : setting.rare] = misses[:, 3:, : setting.rare] = 0
        rows.append(np.stack([hits, np.roll(misses, 1, 2), misses], 2))
    return rows


def verdicts(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Significance of all differences to the first row together, and of each alone."""
    scores = [mean_iou(of.sum(1)) for of in rows]
    without = [np.stack([miou_without_each(*iou_without_each(run)) for run in of]) for of in rows]
    most = freedom_of_labels(rows[0][0, :, 0] + rows[0][0, :, 2])
    found = [borrowed_difference(scores, row, 0, variance(without, row, 0, most)) for row in range(1, len(rows))]
    alone = np.array([interval.p_value for interval in found])
    return np.array(holm(alone)) <= CHANCE, alone <= CHANCE


LIKE_SIZE = Setting(image_sd=0.08, own_sd=0.06)
SETTINGS = {
    "alike": Setting(),
    "images and seeds of like size": LIKE_SIZE,
    "rare classes": replace(LIKE_SIZE, rare=3, images=100),
    "unequal seeds": replace(LIKE_SIZE, seeds=(3, 3, 3, 1, 3, 2, 3)),
    "one wild row": replace(LIKE_SIZE, seed_sd=(0.01,) * 5 + (0.1, 0.01)),
    "wild baseline": replace(LIKE_SIZE, seed_sd=(0.1,) + (0.01,) * 6),
}
"""Where classes are rare, three images decide: all that they have in common for a row's seeds is two thirds of the
variance of a difference."""


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_few_tables_without_a_difference_show_one(setting: Setting) -> None:
    rng = np.random.default_rng(0)
    found = [verdicts(made_up(setting, rng)) for _ in range(2000)]
    together, alone = (np.stack(of) for of in zip(*found, strict=True))
    assert together.any(1).mean() <= 0.07
    assert 1 - alone.mean(0).max() >= 0.91, "coverage of the interval that covers least"


@pytest.mark.slow
def test_a_difference_of_one_point_is_found() -> None:
    """Three seeds with a spread of 0.26 points, images without influence: paired seeds found 17 % of them."""
    rng = np.random.default_rng(1)
    none = ImageVariance(0.0, 0.0, 499)
    found = []
    for _ in range(2000):
        scores = list(rng.normal(0, 0.26, (ROWS, 3)))
        scores[-1] = scores[-1] + 1.0
        together = holm([borrowed_difference(scores, row, 0, none).p_value for row in range(1, ROWS)])
        found.append(together[-1] <= CHANCE)
    assert np.mean(found) >= 0.75
