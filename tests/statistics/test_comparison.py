"""Differences between rows: the review's worked examples to four digits, and the cases that need care."""

from dataclasses import replace

import numpy as np
import pytest

from ocnet_pl.metrics import mean_iou
from ocnet_pl.statistics import (
    ImageVariance,
    Interval,
    borrowed_difference,
    freedom_of_labels,
    iou_without_each,
    mean_sd,
    miou_without_each,
    paired_difference,
    paired_variance,
    variance,
)

BASE = np.array(
    [
        [[[80, 60], [10, 20], [20, 10]], [[70, 50], [20, 10], [10, 20]], [[90, 0], [0, 5], [5, 0]],
         [[60, 40], [15, 25], [25, 15]]],
        [[[78, 62], [12, 18], [18, 12]], [[72, 48], [18, 14], [14, 18]], [[88, 0], [0, 7], [7, 0]],
         [[61, 41], [14, 24], [24, 14]]],
    ]
)  # fmt: skip
ROW = np.array(
    [
        [[[86, 64], [6, 14], [14, 6]], [[73, 58], [12, 7], [7, 12]], [[92, 0], [0, 3], [3, 0]],
         [[69, 45], [10, 16], [16, 10]]],
        [[[87, 66], [8, 9], [9, 8]], [[75, 56], [10, 11], [11, 10]], [[90, 0], [0, 5], [5, 0]],
         [[70, 44], [11, 15], [15, 11]]],
    ]
)  # fmt: skip
"""Counts (2 seeds, 4 images, 3, 2 classes)."""


def without(counts: np.ndarray, block: int = 1) -> np.ndarray:
    return np.stack([miou_without_each(*iou_without_each(run, block)) for run in counts])


def compared(row: np.ndarray, base: np.ndarray) -> Interval:
    scores = [mean_iou(row.sum(1)), mean_iou(base.sum(1))]
    return borrowed_difference(scores, 0, 1, variance([without(row), without(base)], 0, 1))


@pytest.mark.parametrize(
    ("row", "difference", "error", "freedom", "low", "high", "p_value"),
    [
        (1, 1.9000, 0.2656, 27.2701, 1.3552, 2.4448, 1.0214e-07),
        (2, 2.1333, 0.3127, 10.5547, 1.4415, 2.8251, 3.5274e-05),
        (3, 3.7500, 0.2799, 19.9675, 3.1661, 4.3339, 1.9381e-11),
    ],
)
def test_worked_example_of_scores(
    row: int, difference: float, error: float, freedom: float, low: float, high: float, p_value: float
) -> None:
    scores = [np.array(of) for of in ([75.5, 75.7, 75.9], [77.4, 77.6, 77.8], [77.4, 77.8, 78.3], [79.4, 79.5])]
    found = borrowed_difference(scores, row, 0, ImageVariance(0.04, 0.01, 40))
    assert (found.difference, found.error, found.freedom) == pytest.approx((difference, error, freedom), abs=5e-5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.p_value == pytest.approx(p_value, rel=5e-5)
    assert found.seeds == (len(scores[row]), 3)


def test_worked_example_of_counts() -> None:
    assert mean_iou(BASE.sum(1)) == pytest.approx([0.66448802, 0.66086226], abs=5e-9)
    assert mean_iou(ROW.sum(1)) == pytest.approx([0.76769028, 0.7649562], abs=5e-9)
    assert without(BASE)[0] == pytest.approx([0.645609, 0.662763, 0.638710, 0.707728], abs=5e-7)
    images = variance([without(ROW), without(BASE)], 0, 1)
    assert (images.total, images.own, images.freedom) == pytest.approx((8.5748e-05, 8.8351e-05, 3), rel=1e-4)
    found = compared(ROW, BASE)
    assert (found.difference, found.error, found.freedom) == pytest.approx((0.1036, 0.009400, 3.0), abs=5e-5)
    assert (found.low, found.high, found.p_value) == pytest.approx((0.0737, 0.1336, 0.001597), abs=5e-5)


def test_all_seeds_of_both_rows_are_used() -> None:
    """The difference has the sign of the means that stand beside it, also with unequal seeds."""
    scores = [np.array([61.97]), np.array([60.1, 63.9, 63.95])]
    found = borrowed_difference(scores, 0, 1, ImageVariance(0.1, 0.0, 30))
    assert found.difference == pytest.approx(scores[0].mean() - scores[1].mean())
    assert found.difference < 0


def test_a_single_seed_takes_the_spread_of_the_others() -> None:
    images = ImageVariance(0.01, 0.0, 100)
    narrow, wide = (
        borrowed_difference([np.array([70.0]), np.array([68.0]), *others], 0, 1, images)
        for others in ([np.array([60.0, 60.1, 60.2])], [np.array([60.0, 62.0, 64.0])])
    )
    assert narrow.decides
    assert wide.decides
    assert wide.error > 5 * narrow.error
    assert wide.p_value > 0.05 > narrow.p_value


def test_without_two_seeds_in_any_row_nothing_is_decided() -> None:
    found = borrowed_difference([np.array([70.0]), np.array([60.0]), np.array([65.0])], 0, 1, ImageVariance(1, 0, 30))
    assert not found.decides
    assert found.method == "images"
    assert found.error == pytest.approx(1)


def test_seeds_that_agree_by_chance_do_not_narrow_the_interval() -> None:
    """Even rows without any spread over seeds keep the share that images have in single runs."""
    scores = [np.array([70.0, 70.0, 70.0]), np.array([68.0, 68.0, 68.0])]
    found = borrowed_difference(scores, 0, 1, ImageVariance(0.09, 0.05, 50))
    assert found.error == pytest.approx(0.3)


def test_a_row_that_varies_far_more_borrows_nothing() -> None:
    """Others would make it look tamer than its own seeds are: the interval is that of its three seeds alone."""
    scores = [np.array([60.0, 70.0, 80.0]), *(np.array([70.0, 70.1, 70.2]) for _ in range(6))]
    found = borrowed_difference(scores, 0, 1, ImageVariance(0.0, 0.0, 50))
    assert found.unlike == (True, False)
    assert found.error**2 == pytest.approx(100 / 3, rel=0.15)
    assert found.freedom == pytest.approx(2, abs=0.8)
    of_alike = borrowed_difference(scores, 1, 2, ImageVariance(0.0, 0.0, 50))
    assert of_alike.unlike == (False, False)
    assert of_alike.error**2 > 1, (
        "the spread of the table still includes the wild row: it is not known to be an exception"
    )


def test_a_few_images_borrow_the_influence_of_images_on_the_other_rows() -> None:
    """Two rows that agree by chance in the images that decide get the table's spread; many images decide alone."""
    rng = np.random.default_rng(0)
    rows = [np.repeat(rng.normal(70, 1, (1, 3)), 2, 0) for _ in range(7)]
    rows[1] = rows[0] + rng.normal(0, 0.01, (1, 3))
    images = variance(rows, 0, 1)
    of_pairs = [variance(rows, one, two).shared for one in range(7) for two in range(one)]
    assert images.average == pytest.approx(np.mean(of_pairs))
    assert images.shared < 0.01 * np.mean(of_pairs)
    scores = [np.array([70.0, 70.0])] * 7
    few, many = (borrowed_difference(scores, 0, 1, replace(images, freedom=freedom)) for freedom in (2, 2000))
    assert few.error**2 == pytest.approx(images.average / 2, rel=0.01)
    assert many.error**2 < 0.01 * few.error**2
    alone = variance(rows[:2], 0, 1)
    assert borrowed_difference(scores[:2], 0, 1, alone).error ** 2 == pytest.approx(alone.shared)
    assert borrowed_difference(scores[:2], 0, 1, alone).freedom == pytest.approx(alone.freedom)


def test_labels_limit_the_degrees_of_freedom() -> None:
    """A hundred images are two degrees of freedom if three of them have most classes."""
    common = np.full((100, 1), 50)
    assert freedom_of_labels(common) == pytest.approx(99)
    rare = np.zeros((100, 3), int)
    rare[:3] = 10
    assert freedom_of_labels(rare) == pytest.approx(2)
    assert freedom_of_labels(np.hstack([common, rare, np.zeros((100, 1), int)])) == pytest.approx(2, abs=0.1)
    assert freedom_of_labels(common[:1]) == 1
    rows = list(np.random.default_rng(0).normal(70, 1, (2, 2, 100)))
    assert variance(rows, 0, 1).freedom > 50
    assert variance(rows, 0, 1, 2.0).freedom == paired_variance(*rows, 2.0).freedom == 2


@pytest.mark.parametrize("others", [[], [np.array([60.0, 61.0, 62.0])]], ids=["seeds vary", "only another row varies"])
def test_a_constant_difference_is_not_certain(others: list[np.ndarray]) -> None:
    """Equal in every seed and image, it has no spread of its own; pairs of seeds would make it certain (p 0)."""
    base = np.array([70.0, 70.0, 70.0]) if others else np.array([70.0, 70.4, 70.9])
    found = borrowed_difference([base + 0.1, base, *others], 0, 1, ImageVariance(0.0, 0.0, 50))
    assert found.difference == pytest.approx(0.1)
    assert found.low < 0 < found.high
    assert found.p_value > 0.05


def test_the_same_weights_are_compared_in_pairs() -> None:
    """Two protocols on the same three networks: the spread of the networks cancels."""
    differences = np.array([0.50, 0.52, 0.54])
    found = paired_difference(differences, ImageVariance(0.0001, 0.0, 100))
    assert found.error**2 == pytest.approx(0.02**2 / 3 + 0.0001)
    assert found.decides
    assert not paired_difference(differences[:1], ImageVariance(0.0001, 0.0, 100)).decides


def test_a_row_does_not_differ_from_its_own_networks() -> None:
    found = paired_difference(np.zeros(3), paired_variance(without(ROW), without(ROW)))
    assert (found.low, found.high, found.p_value) == (0, 0, 1)
    assert not found.excludes_zero


def test_pairing_removes_the_difficulty_of_images() -> None:
    rng = np.random.default_rng(3)
    easy = rng.uniform(0.5, 0.95, (1, 100, 1, 1))
    rows = [1000 * np.concatenate([share, 1 - share, 1 - share], 2) for share in (easy, easy - 0.05)]
    row, base = (np.repeat(of, 2, 3).round().astype(int) for of in rows)
    paired, shuffled = compared(row, base), compared(row, base[:, rng.permutation(100)])
    assert paired.error < 0.5 * shuffled.error


def test_a_class_leaves_with_its_last_image() -> None:
    """Otherwise a run that predicts the class elsewhere would fall to 0 there, and the other would be excused."""
    counts = np.array([[[90, 10], [0, 0], [0, 0]], [[100, 0], [0, 5], [5, 0]], [[100, 0], [0, 0], [0, 0]]])
    ious, gone = iou_without_each(counts)
    assert gone.tolist() == [[False, True], [False, False], [False, False]]
    assert miou_without_each(ious, gone)[0] == pytest.approx(200 / 205)
    assert miou_without_each(ious, gone, "zero")[0] == pytest.approx(200 / 205)


def test_a_class_in_no_label_follows_the_rule_for_absent_classes() -> None:
    counts = np.array([[[9, 0], [0, 0], [0, 0]], [[9, 0], [0, 0], [0, 0]]])
    ious, gone = iou_without_each(counts)
    assert miou_without_each(ious, gone).tolist() == [1, 1]
    assert miou_without_each(ious, gone, "zero").tolist() == [0.5, 0.5]


def test_without_the_only_labelled_image_there_is_no_score() -> None:
    counts = np.zeros((4, 3, 2), int)
    counts[1] = [[5, 5], [1, 2], [2, 1]]
    found = miou_without_each(*iou_without_each(counts))
    assert np.isnan(found).tolist() == [False, True, False, False]


def test_neighbours_are_left_out_together() -> None:
    """Equal neighbours tell nothing new: only blocks see that."""
    twice = np.repeat(ROW, 2, 1)
    assert without(twice, block=2) == pytest.approx(without(ROW))
    assert without(twice[:, :7], block=2).shape == (2, 4)
    single = variance([without(twice), without(np.repeat(BASE, 2, 1))], 0, 1).total
    blocks = variance([without(twice, 2), without(np.repeat(BASE, 2, 1), 2)], 0, 1).total
    assert blocks > 1.8 * single


def test_spread_over_seeds() -> None:
    assert mean_sd([1, 2, 3]).sd == 1
    assert mean_sd([5.0]).mean == 5
    assert np.isnan(mean_sd([5.0]).sd)
    assert np.isnan(mean_sd([]).mean)
    assert mean_sd([1, np.nan, 3]).n == 2
