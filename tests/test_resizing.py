import numpy as np
import pytest
import torch
from PIL import Image

from ocnet_pl.logits import MapLogits
from ocnet_pl.resizing import resize_image, round_up, short_side_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 683), (450, 600)),
        ((683, 512), (600, 450)),
        ((200, 300), (450, 675)),
        ((200, 900), (222, 1000)),
        ((131, 131), (450, 450)),  # in floats, 131 * (450 / 131) is cut down to 449
        ((1, 5000), (1, 1000)),
    ],
)
def test_the_short_side_and_the_bound_of_the_long_one(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert short_side_size(*size, 450, 1000) == expected


def test_no_short_side_misses_by_rounding() -> None:
    for side in range(1, 700):
        assert short_side_size(side, side + 3, 450, 10**9)[0] == 450


def test_sides_are_rounded_up() -> None:
    assert round_up((450, 600), 8) == (456, 600)
    assert round_up((1, 8), 8) == (8, 8)


@pytest.mark.parametrize("size", [(20, 31), (37, 53), (90, 41)])
def test_images_are_resampled_as_pillow_does(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    ours = torch.tensor(image).permute(2, 0, 1)[None]
    pillow = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR), np.float64)
    for pixels in (ours, ours.float()):  # a CPU takes bytes, a GPU floats
        resized = resize_image(pixels, size)
        assert resized.dtype == pixels.dtype
        assert np.abs(resized[0].permute(1, 2, 0).numpy() - pillow).max() <= 1.01  # it rounds after each of two passes


def test_logits_come_back_to_where_the_image_was() -> None:
    x = torch.arange(120.0).expand(1, 3, 90, 120)
    there_and_back = MapLogits(resize_image(x, (180, 240))).resized((90, 120)).whole()
    assert (there_and_back - x)[..., 1:-1].abs().max() < 1e-4


def test_the_same_size_is_the_same_values() -> None:
    image = torch.randint(0, 256, (1, 3, 5, 7), dtype=torch.uint8)
    assert resize_image(image, (5, 7)) is image
