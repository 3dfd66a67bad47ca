import cv2
import numpy as np
import pytest

from ocnet_pl.dataset.transforms import (
    MEAN_COLOUR,
    HorizontalFlip,
    RandomScaleCrop,
    Resize,
    ResizeShortSide,
    training_transform,
)


def scale_then_crop(
    rng: np.random.Generator, image: np.ndarray, crop: tuple[int, int], scale: tuple[float, float]
) -> tuple[np.ndarray, float, tuple[float, float]]:
    """The plain way: resize everything, pad, cut. Gives the crop, its scale and its place in the source."""
    s = rng.uniform(*scale)
    height, width = (round(side * s) for side in image.shape[:2])
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    below, beside = max(0, crop[0] - height), max(0, crop[1] - width)
    resized = cv2.copyMakeBorder(resized, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=MEAN_COLOUR)
    top = int(rng.integers(resized.shape[0] - crop[0] + 1))
    left = int(rng.integers(resized.shape[1] - crop[1] + 1))
    return resized[top : top + crop[0], left : left + crop[1]], s, (top / s, left / s)


def test_windows_are_distributed_as_scale_then_crop() -> None:
    rng, image, crop, scale = np.random.default_rng(0), np.zeros((100, 200, 3), np.uint8), (60, 60), (0.5, 2.0)
    transform = RandomScaleCrop(crop, scale)
    transform.set_random_seed(0)
    ours, plain = [], []
    for _ in range(4000):
        drawn = transform.get_params_dependent_on_data({"shape": image.shape}, {})
        (top, _), (left, right) = drawn["window"]
        ours.append((drawn["target"][1] / (right - left), top, left))
        _, s, (y, x) = scale_then_crop(rng, image, crop, scale)
        plain.append((s, y, x))
    for a, b, step in zip(np.array(ours).T, np.array(plain).T, (0.02, 1.0, 1.0), strict=True):
        quantiles = np.linspace(0.05, 0.95, 10)
        difference = np.abs(np.quantile(a, quantiles) - np.quantile(b, quantiles))
        assert (difference < 0.04 * np.ptp(b) + step).all()


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.37, 2.0])
def test_pixels_are_those_of_scale_then_crop(scale: float) -> None:
    y, x = np.mgrid[:120, :160]
    smooth = np.stack([y, x, (x + y) / 2], -1).astype(np.uint8)
    transform = RandomScaleCrop((60, 60), (scale, scale))
    drawn = transform.get_params_dependent_on_data({"shape": smooth.shape}, {})
    crop = transform.apply(smooth, **drawn).astype(float)
    (top, _), (left, _) = drawn["window"]
    rows = np.clip((np.arange(60) + 0.5) / scale - 0.5 + top, 0, 119)
    columns = np.clip((np.arange(60) + 0.5) / scale - 0.5 + left, 0, 159)
    assert np.abs(crop[..., 0] - rows[:, None]).max() < 1.5
    assert np.abs(crop[..., 1] - columns[None]).max() < 1.5


def test_small_images_are_padded_right_and_below() -> None:
    image, label = np.full((20, 30, 3), 200, np.uint8), np.full((20, 30), 7, np.uint8)
    transform = RandomScaleCrop((50, 50), (1.0, 1.0))
    drawn = transform.get_params_dependent_on_data({"shape": image.shape}, {})
    crop, mask = transform.apply(image, **drawn), transform.apply_to_mask(label, **drawn)
    assert (crop[:20, :30] == 200).all()
    assert (crop[20:] == MEAN_COLOUR).all()
    assert (crop[:, 30:] == MEAN_COLOUR).all()
    assert (mask[:20, :30] == 7).all()
    assert (mask[20:] == 255).all()
    assert (mask[:, 30:] == 255).all()


def test_labels_follow_their_pixels() -> None:
    rng = np.random.default_rng(0)
    label = cv2.resize(rng.integers(0, 6, (6, 8), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_NEAREST)
    image = np.repeat(label[..., None] * 40, 3, -1)
    transform = training_transform([RandomScaleCrop((64, 64), (0.5, 2.0))])
    for seed in range(20):
        transform.set_random_seed(seed)
        drawn = transform(image=image, mask=label)
        inside = drawn["mask"] != 255
        agree = np.abs(drawn["image"][..., 0].astype(int) - 40 * drawn["mask"].astype(int)) <= 2
        assert agree[inside].mean() > 0.85  # all but the blended borders


def test_a_seed_decides_a_sample() -> None:
    image = np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8)
    transform = training_transform([RandomScaleCrop((32, 32), (0.5, 2.0))])

    def draw(seed: int) -> np.ndarray:
        transform.set_random_seed(seed)
        return np.asarray(transform(image=image, mask=image[..., 0])["image"])

    first = draw(1)
    draw(2)
    assert np.array_equal(first, draw(1))
    assert not np.array_equal(first, draw(2))


def test_the_authors_seventeen_scales() -> None:
    transform = RandomScaleCrop((10, 10), (0.5, 2.1), 0.1)
    transform.set_random_seed(0)
    scales = {round(transform._draw_scale(), 6) for _ in range(600)}
    assert scales == {round(0.5 + k / 10, 6) for k in range(17)}


def test_a_mirrored_label_exchanges_left_and_right() -> None:
    label = np.array([[0, 14, 15, 255]], np.uint8)
    mirroring = np.arange(256, dtype=np.uint8)
    mirroring[[14, 15]] = [15, 14]
    image = np.zeros((1, 4, 3), np.uint8)
    flip = HorizontalFlip(mirroring, p=1.0)
    flipped = flip(image=image, mask=label)["mask"]
    assert flipped.tolist() == [[255, 14, 15, 0]]
    assert HorizontalFlip(p=1.0)(image=image, mask=label)["mask"].tolist() == [[255, 15, 14, 0]]
    assert np.array_equal(flip(image=image, mask=flipped)["mask"], label)


def test_resizing_keeps_labels_on_their_pixels() -> None:
    label = np.zeros((40, 60), np.uint8)
    label[10:20, 30:45] = 3
    image = np.repeat(label[..., None] * 60, 3, -1)
    both = training_transform([Resize((80, 120))])
    both.set_random_seed(0)
    drawn = both(image=image, mask=label)
    assert drawn["mask"].shape == (80, 120)
    assert (np.abs(drawn["image"][..., 1] - 60.0 * drawn["mask"]) < 90).all()  # nearer to its own side of the border
    assert (drawn["mask"] == 3).sum() == 4 * (label == 3).sum()


def test_a_batch_has_one_short_side_and_batches_differ() -> None:
    transform = training_transform([ResizeShortSide((30, 45, 60), 80, seed=1)])

    def size(batch: int, *shape: int, seed: int = 0) -> tuple[int, ...]:
        transform.set_random_seed(seed)
        drawn = transform(image=np.zeros((*shape, 3), np.uint8), mask=np.zeros(shape, np.uint8), batch=batch)
        assert drawn["image"].shape[:2] == drawn["mask"].shape
        return tuple(drawn["mask"].shape)

    sides = [size(batch, 90, 120)[0] for batch in range(60)]
    assert set(sides) == {30, 45, 60}
    assert sides == [size(batch, 90, 100, seed=batch)[0] for batch in range(60)]
    assert {size(batch, 50, 200) for batch in range(60)} == {(20, 80)}, "the long side is bounded"
