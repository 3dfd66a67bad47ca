"""What a user's augmentation may do to images and labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
from trees import folder_tree

from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.labels import ignored_id
from ocnet_pl.dataset.sampler import Draw
from ocnet_pl.errors import UserError

SIZE = (64, 64)

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{said}:UserWarning")
    for said in ("Using lambda is incompatible", ".*ShiftScaleRotate")
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of stored id 2 only."""
    return folder_tree(tmp_path_factory.mktemp("tree"), (2,), train=[SIZE])


def data(root: Path, *augment: Any, **settings: Any) -> Folder:
    return Folder(
        str(root), **({"classes": ("a", "b", "c"), "crop_size": SIZE, "scale": (1, 1), "augment": augment} | settings)
    )


def ids(module: Folder, draws: int = 12) -> set[int]:
    samples = module.training_set()
    return {number for position in range(draws) for number in np.unique(samples[Draw(0, position)]["label"]).tolist()}


MOVING: dict[str, Callable[[], Any]] = {
    "Rotate": lambda: A.Rotate((45, 45), p=1),
    "Rotate with a class as fill": lambda: A.Rotate((45, 45), fill_mask=1, p=1),
    "SafeRotate": lambda: A.SafeRotate((30, 30), p=1),
    "Affine": lambda: A.Affine(translate_percent=0.3, p=1),
    "ShiftScaleRotate": lambda: A.ShiftScaleRotate(shift_limit=0.3, border_mode=cv2.BORDER_CONSTANT, p=1),
    "GridDistortion": lambda: A.GridDistortion(distort_limit=(0.8, 0.8), normalized=False, p=1),
    "ElasticTransform": lambda: A.ElasticTransform(alpha=300, sigma=8, p=1),
    "OpticalDistortion": lambda: A.OpticalDistortion((0.9, 0.9), p=1),
    "ThinPlateSpline": lambda: A.ThinPlateSpline(p=1),
    "Perspective": lambda: A.Perspective((0.2, 0.2), fit_output=True, p=1),
    "PadIfNeeded": lambda: A.PadIfNeeded(96, 96, p=1),
    "Pad": lambda: A.Pad(20, p=1),
    "CropAndPad": lambda: A.CropAndPad(px=20, keep_size=False, p=1),
    "CenterCrop": lambda: A.CenterCrop(80, 80, pad_if_needed=True, p=1),
    "RandomCrop": lambda: A.RandomCrop(80, 80, pad_if_needed=True, p=1),
    "CoarseDropout": lambda: A.CoarseDropout(fill_mask=0, p=1),
    "GridDropout": lambda: A.GridDropout(fill_mask=0, p=1),
    "XYMasking": lambda: A.XYMasking((1, 2), (1, 2), mask_x_length=9, mask_y_length=9, fill_mask=0, p=1),
    "MaskDropout": lambda: A.MaskDropout(p=1),
    "PixelDropout": lambda: A.PixelDropout(0.5, mask_drop_value=0, p=1),
    "OneOf": lambda: A.OneOf([A.Rotate((45, 45), p=1), A.Affine(rotate=(45, 45), p=1)], p=1),
    "Sequential": lambda: A.Sequential([A.Rotate((45, 45), p=1)], p=1),
    "SomeOf": lambda: A.SomeOf([A.Rotate((45, 45), p=1), A.GaussNoise()], 2, p=1),
    "nested": lambda: A.Compose([A.OneOf([A.Sequential([A.Rotate((45, 45), p=1)], p=1)], p=1)]),
}


@pytest.mark.parametrize("name", MOVING)
@pytest.mark.parametrize("ignore_id", [None, 9])
def test_pixels_without_a_source_are_ignored(name: str, ignore_id: int | None, root: Path) -> None:
    found = ids(data(root, MOVING[name](), ignore_id=ignore_id))
    assert 255 in found, "the test must move pixels"
    assert found <= {2, 255}


def test_a_fill_is_ignored_where_255_is_a_class(tmp_path: Path) -> None:
    root = folder_tree(tmp_path, (255,), train=[SIZE])
    module = data(root, A.Rotate((45, 45), p=1), classes=("no", "yes"), ids=(0, 255))
    assert ids(module) == {1, 255}
    assert ignored_id(module.table) == 254


def test_a_fill_that_is_ignored_stays(root: Path) -> None:
    rotate = A.Rotate((45, 45), fill_mask=9, p=1)
    module = data(root, rotate, ignore_id=9)
    assert ids(module) == {2, 255}
    assert rotate.fill_mask == 9


def test_a_dropout_that_keeps_labels_keeps_them(root: Path) -> None:
    assert ids(data(root, A.CoarseDropout(p=1), A.GridDropout(p=1))) == {2}


class Doubled(A.ImageOnlyTransform):
    """Somebody's own transform, which forgets what an image is."""

    def apply(self, img: Any, **params: Any) -> Any:
        return img.astype(np.float64) * 2


class Shifted(A.DualTransform):
    """Somebody's own transform, which fills with what NumPy fills with."""

    def apply(self, img: Any, **params: Any) -> Any:
        shifted = np.zeros_like(img)
        shifted[9:] = img[:-9]
        return shifted


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (lambda: A.Normalize(), r"augment: Normalize .*float32.*normalises images itself"),
        (lambda: A.ToFloat(), r"ToFloat .*float32"),
        (lambda: A.ToTensorV2(), r"ToTensorV2 .*Tensor"),
        (lambda: A.ToGray(num_output_channels=1), r"ToGray .*shape"),
        (lambda: A.OneOf([A.HueSaturationValue(), A.Normalize(p=0.01)]), r"Normalize .*float32"),
        (lambda: A.Sequential([A.Compose([A.ToFloat()])]), r"ToFloat .*float32"),
        (lambda: A.Lambda(mask=lambda mask, **params: mask.astype(np.float32), p=1), r"Lambda .*labels of float32"),
        (lambda: A.Lambda(mask=lambda mask, **params: mask[..., None], p=1), r"Lambda .*labels of shape"),
        (lambda: Doubled(p=0.001), r"Doubled .*float64"),
        (lambda: Shifted(p=0.001), r"Shifted gives labels the ids \[0\]"),
        (lambda: A.Affine(mask_interpolation=cv2.INTER_LINEAR), r"Affine interpolates .*mask_interpolation"),
        (lambda: A.Resize(32, 32, mask_interpolation=cv2.INTER_CUBIC), r"Resize interpolates"),
        (lambda: A.RandomCrop(999, 999), r"RandomCrop fails on an image of 64x64 .*change it"),
        (lambda: A.Mosaic(), r"Mosaic .*mosaic_metadata"),
        (lambda: {"rotate": 3}, r"not a transform of albumentations"),
        (lambda: "Rotate", r"not a transform of albumentations"),
    ],
)
def test_unsuitable_transforms_are_refused(augment: Callable[[], Any], words: str, root: Path) -> None:
    with pytest.raises(UserError, match=words) as caught:
        data(root, augment()).training_set()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("flip", [A.HorizontalFlip, A.VerticalFlip, A.Transpose, A.D4])
def test_mirrors_are_refused_where_sides_are_classes(flip: type[A.DualTransform], root: Path) -> None:
    with pytest.raises(UserError, match=rf"{flip.__name__} mirrors images without exchanging left and right"):
        data(root, A.OneOf([flip()]), mirror_pairs=[("a", "b")]).training_set()
    assert ids(data(root, flip(p=1))) == {2}


def test_a_transform_that_fails_on_some_image_only(root: Path) -> None:
    def fail(image: Any, **params: Any) -> Any:
        if image.mean() != mean:
            return image
        raise ValueError("no\nluck")

    plain = data(root).training_set()
    mean = plain[Draw(0, 3)]["image"].numpy().mean()
    with pytest.raises(UserError, match=r"augment: no luck, for an image of 64x64"):
        ids(data(root, A.Lambda(image=fail, p=1)))


def test_a_seed_still_decides_a_sample(root: Path) -> None:
    samples = data(root, A.OneOf([A.Rotate(p=1), A.ElasticTransform(p=1)], p=1)).training_set()
    first = samples[Draw(0, 5)]["image"]
    samples[Draw(0, 6)]
    assert bool((samples[Draw(0, 5)]["image"] == first).all())
