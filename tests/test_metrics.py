import numpy as np
import pytest
import torch

from ocnet_pl.counting import Counted, ImageCounts, class_counts, confusion_matrix
from ocnet_pl.metrics import iou, mean_iou, pixel_accuracy


def by_hand(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> np.ndarray:
    valid = label != 255
    return np.array(
        [
            [((prediction == c) & (label == c)).sum() for c in range(num_classes)],
            [((prediction == c) & (label != c) & valid).sum() for c in range(num_classes)],
            [((prediction != c) & (label == c)).sum() for c in range(num_classes)],
        ]
    )


def example(seed: int = 0, shape: tuple[int, ...] = (4, 20, 30)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 5, shape)
    label[rng.random(shape) < 0.2] = 255
    return rng.integers(0, 5, shape), label


def test_counts_are_those_by_hand() -> None:
    prediction, label = example()
    matrix = confusion_matrix(torch.tensor(prediction), torch.tensor(label, dtype=torch.uint8), 5)
    assert matrix.sum() == (label != 255).sum()
    assert np.array_equal(class_counts(matrix).numpy(), by_hand(prediction, label, 5))


@pytest.mark.parametrize("num_classes", [1, 2, 180, 181, 254])
def test_bins_of_16_bits_hold_any_number_of_classes(num_classes: int) -> None:
    """Of 181 classes and the ignored pixels there are more pairs than numbers of 16 bits."""
    every = np.array([(truth, found) for truth in (*range(num_classes), 255) for found in range(num_classes)], np.uint8)
    label, prediction = torch.tensor(every).unbind(1)
    expected = torch.ones(num_classes, num_classes, dtype=torch.long)
    assert torch.equal(confusion_matrix(prediction, label, num_classes), expected)


def test_scores_by_hand() -> None:
    counts = np.array([[3, 0, 2], [1, 0, 1], [2, 0, 0]])
    assert iou(counts) == pytest.approx([0.5, np.nan, 2 / 3], nan_ok=True)
    assert mean_iou(counts) == pytest.approx((0.5 + 2 / 3) / 2)
    assert pixel_accuracy(counts) == pytest.approx(5 / 7)


@pytest.mark.parametrize(
    ("counts", "skipped", "zeroed"),
    [
        ([[3, 0, 2], [1, 0, 1], [2, 0, 0]], (0.5 + 2 / 3) / 2, (0.5 + 2 / 3) / 3),
        ([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], 1.0, 0.25),
        ([[0, 0], [2, 0], [0, 0]], 0.0, 0.0),  # predicted, and wrong
        ([[1, 1], [1, 0], [0, 1]], 0.5, 0.5),  # nothing is absent
    ],
)
def test_absent_classes_are_left_out_or_count_as_zero(counts: list[list[int]], skipped: float, zeroed: float) -> None:
    assert mean_iou(counts) == mean_iou(counts, "skip") == pytest.approx(skipped)
    assert mean_iou(counts, "zero") == pytest.approx(zeroed)


def test_nothing_labelled_is_no_number() -> None:
    assert np.isnan(mean_iou(np.zeros((3, 4))))
    assert np.isnan(mean_iou(np.zeros((3, 4)), "zero"))
    assert np.isnan(pixel_accuracy(np.zeros((3, 4))))


def test_image_counts_come_in_the_order_of_the_set() -> None:
    prediction, label = (torch.tensor(a) for a in example())
    metric = ImageCounts(5)
    for i in (2, 0, 3, 1):
        metric.update(torch.tensor([i]), prediction[i : i + 1], label[i : i + 1])
    counted = metric.compute()
    assert counted.index.tolist() == [0, 1, 2, 3]
    for i, counts in enumerate(counted.counts.numpy()):
        assert np.array_equal(counts, by_hand(prediction[i].numpy(), label[i].numpy(), 5))
    assert torch.equal(counted.confusion, confusion_matrix(prediction, label, 5))


def test_miou_is_over_the_set_not_over_images() -> None:
    label = torch.tensor([[[0, 0, 0, 1]], [[1, 1, 1, 1]]])
    prediction = torch.tensor([[[0, 0, 0, 0]], [[1, 1, 1, 1]]])
    metric = ImageCounts(2)
    metric.update(torch.tensor([0, 1]), prediction, label)
    assert mean_iou(metric.compute().counts.sum(0)) == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_one_image_of_one_class_keeps_its_dimensions() -> None:
    metric = ImageCounts(1)
    metric.update(torch.tensor([0]), torch.zeros(1, 2, 2, dtype=torch.long), torch.zeros(1, 2, 2, dtype=torch.uint8))
    counted = metric.compute()
    assert counted.index.tolist() == [0]
    assert counted.counts.tolist() == [[[4], [0], [0]]]
    assert counted.confusion.tolist() == [[4]]


def test_no_image_counts_nothing() -> None:
    counted = Counted.nothing(3)
    assert counted.index.shape == (0,)
    assert counted.counts.shape == (0, 3, 3)
