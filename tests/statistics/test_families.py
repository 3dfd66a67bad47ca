"""Many comparisons together, ranks, and planning."""

import numpy as np
import pytest

from ocnet_pl.statistics import CHANCE, Design, benjamini_hochberg, holm, rank_ranges


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_benjamini_hochberg() -> None:
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert benjamini_hochberg([]) == []
    rng = np.random.default_rng(0)
    together = benjamini_hochberg([*rng.uniform(size=900), *[1e-9] * 100])
    found = np.flatnonzero(np.array(together) <= CHANCE)
    assert set(range(900, 1000)) <= set(found)
    assert (found < 900).sum() < 20


def test_ranks_of_rows_far_apart_are_sure() -> None:
    errors = np.ones((3, 3)) - np.eye(3)
    assert rank_ranges([70, 90, 80], errors) == [(3, 3), (1, 1), (2, 2)]
    assert rank_ranges([80.0, 80.1, 50], errors) == [(1, 2), (1, 2), (3, 3)]


def test_ranks_follow_the_errors_of_the_differences() -> None:
    """Rows 0 and 1 share most of their error: their difference is sure, that to row 2 is not."""
    errors = np.array([[0, 0.1, 3], [0.1, 0, 3], [3, 3, 0]])
    assert rank_ranges([81, 80, 79.5], errors) == [(1, 2), (2, 3), (1, 3)]


@pytest.mark.parametrize(
    ("image_error", "gaps"),
    [
        (0.0, (1.28, 0.91, 0.65, 0.49, 0.43)),
        (0.2, (1.29, 1.07, 0.92, 0.84, 0.81)),
        (0.4, (1.71, 1.59, 1.51, 1.47, 1.45)),
    ],
)
def test_the_smallest_gaps_are_those_of_the_review(image_error: float, gaps: tuple[float, ...]) -> None:
    design = Design(0.26, 14, image_error, 499, 7, 6)
    assert [design.smallest_gap(seeds) for seeds in (2, 3, 5, 8, 10)] == pytest.approx(gaps, abs=0.006)


def test_no_number_of_seeds_finds_less_than_the_floor() -> None:
    design = Design(0.26, 14, 0.2, 499, 7, 6)
    assert design.floor == pytest.approx(3.5 * 0.2, abs=0.01)
    assert design.smallest_gap(1000) == pytest.approx(design.floor, rel=0.01)
    assert design.seeds_for(0.69) is None
    seeds = design.seeds_for(0.93)
    assert seeds == 5
    assert design.smallest_gap(seeds) <= 0.93 < design.smallest_gap(seeds - 1)
    assert design.seeds_for(50) == 2


def test_both_ends_of_what_is_uncertain() -> None:
    low, high = Design(1.0, 14, 0.2, 499, 7, 6).ends()
    assert (low.sd, high.sd) == pytest.approx((0.73, 1.58), abs=0.005)
    assert low.smallest_gap(3) < high.smallest_gap(3)
