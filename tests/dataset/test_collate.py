import pytest
import torch

from ocnet_pl.dataset.collate import Sample, pad_to_largest, stack
from ocnet_pl.dataset.transforms import MEAN_COLOUR
from ocnet_pl.errors import UserError


def sample(height: int, width: int, index: int = 0) -> Sample:
    return {
        "image": torch.full((3, height, width), 200, dtype=torch.uint8),
        "label": torch.full((height, width), 7, dtype=torch.uint8),
        "index": torch.tensor(index),
    }


def test_a_batch_is_padded_right_and_below_to_a_multiple() -> None:
    batch = pad_to_largest([sample(10, 20), sample(13, 9, index=5)], multiple=8)
    assert batch["image"].shape == (2, 3, 16, 24)
    assert batch["image"].dtype == batch["label"].dtype == torch.uint8
    assert batch["index"].tolist() == [0, 5]
    for number, (height, width) in enumerate([(10, 20), (13, 9)]):
        inside = torch.zeros(16, 24, dtype=torch.bool)
        inside[:height, :width] = True
        assert (batch["label"][number][inside] == 7).all()
        assert (batch["label"][number][~inside] == 255).all()
        assert (batch["image"][number][:, inside] == 200).all()
        assert (batch["image"][number][:, ~inside] == torch.tensor(MEAN_COLOUR)[:, None]).all()


def test_equal_sizes_stay_as_they_are() -> None:
    assert pad_to_largest([sample(10, 20), sample(10, 20)])["image"].shape == (2, 3, 10, 20)


def test_images_of_two_sizes_are_not_tested_together() -> None:
    assert stack([sample(10, 20), sample(10, 20)])["image"].shape == (2, 3, 10, 20)
    with pytest.raises(UserError, match=r"val_batch_size=2: images of 20x10 and 9x13 .* set val_batch_size=1"):
        stack([sample(10, 20), sample(13, 9)])
