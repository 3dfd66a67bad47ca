import numpy as np
import pytest

from ocnet_pl.metrics import mean_iou
from ocnet_pl.statistics import Interval, holm, paired_bootstrap


def made_up(
    rng: np.random.Generator, *, seeds: int, images: int, better: float, seed_sd: float, image_sd: float
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of two rows, (S, N, 3, K) each: images vary in difficulty, equally for both rows; runs vary in skill."""
    pixels, classes = 2000, 3
    difficulty = rng.normal(0, image_sd, images)
    rows = []
    for shift in (better, 0.0):
        luck = rng.normal(0, seed_sd, (seeds, 1, 1))
        own = rng.normal(0, image_sd / 3, (seeds, images, 1))
        share = np.clip(0.7 + shift + luck + own + difficulty[None, :, None], 0.02, 0.98)
        hits = rng.binomial(pixels, np.repeat(share, classes, 2))
        misses = pixels - hits
        rows.append(np.stack([hits, np.roll(misses, 1, 2), misses], 2))
    return rows[0], rows[1]


def truth(**arguments: float) -> float:
    rng = np.random.default_rng(10**6)
    row, baseline = made_up(rng, seeds=300, images=2000, **arguments)
    return float((mean_iou(row.sum(1)) - mean_iou(baseline.sum(1))).mean())


@pytest.mark.slow
@pytest.mark.parametrize(("seed_sd", "image_sd"), [(0.01, 0.05), (0.002, 0.10), (0.02, 0.02)])
def test_the_interval_has_its_nominal_coverage(seed_sd: float, image_sd: float) -> None:
    arguments = {"better": 0.02, "seed_sd": seed_sd, "image_sd": image_sd}
    known = truth(**arguments)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        row, baseline = made_up(rng, seeds=3, images=60, **arguments)
        interval = paired_bootstrap(row, baseline, draws=200)
        covered += interval.low <= known <= interval.high
    assert 930 <= covered <= 970


def test_no_difference_is_not_significant() -> None:
    rng = np.random.default_rng(1)
    row, _ = made_up(rng, seeds=3, images=40, better=0.0, seed_sd=0.01, image_sd=0.05)
    interval = paired_bootstrap(row, row)
    assert interval == Interval(0.0, 0.0, 0.0, 3)
    assert not interval.significant


def test_a_large_difference_is_significant() -> None:
    rng = np.random.default_rng(2)
    interval = paired_bootstrap(*made_up(rng, seeds=3, images=200, better=0.1, seed_sd=0.005, image_sd=0.05))
    assert interval.significant
    assert interval.low < interval.difference < interval.high


def test_pairing_removes_the_difficulty_of_images() -> None:
    rng = np.random.default_rng(3)
    row, baseline = made_up(rng, seeds=3, images=100, better=0.02, seed_sd=0.0, image_sd=0.2)
    paired = paired_bootstrap(row, baseline)
    shuffled = paired_bootstrap(row, baseline[:, rng.permutation(100)])
    assert paired.high - paired.low < 0.7 * (shuffled.high - shuffled.low)


def test_nan_is_not_significant() -> None:
    assert holm([float("nan"), 0.001]) == [False, True]
    assert holm([float("nan")]) == [False]
