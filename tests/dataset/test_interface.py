"""All data sets keep the same interface."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trees import ade20k_tree, folder_tree, lip_tree

from ocnet_pl.config.search_path import options
from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.demo import Demo
from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.labels import UNKNOWN
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE

SIZES = {"train": [(40, 60), (64, 48), (32, 32), (50, 90), (48, 64)], "val": [(40, 60), (64, 48), (33, 32)]}
LOADING: dict[str, Any] = {"batch_size": 2, "num_workers": 0}
CROPS: dict[str, Any] = {"crop_size": (32, 48)}


def data(name: str, root: Path, cityscapes_tree: Path, **settings: Any) -> SegmentationDataModule:
    """A data module on a miniature tree."""
    settings = LOADING | settings
    match name:
        case "cityscapes":
            return Cityscapes(str(cityscapes_tree), **CROPS, **settings)
        case "demo":
            module = Demo(str(root), image_size=(32, 64), num_images={"train": 5, "val": 3}, **CROPS, **settings)
            module.prepare_data()
            return module
        case "ade20k":
            sizes = {"short_sides": (24, 32), "max_long_side": 60, "test_short_side": 30}
            return ADE20K(str(ade20k_tree(root, **SIZES)), **sizes, **settings)
        case "lip":
            return LIP(str(lip_tree(root, **SIZES)), size=(30, 30), crop_size=(30, 30), **settings)
        case "folder":
            root = folder_tree(root, (0, 1, 2, 255), **SIZES)
            return Folder(
                str(root), classes=("sky", "left", "right"), mirror_pairs=[("left", "right")], **CROPS, **settings
            )
    raise AssertionError(f"{name}: a data set without a miniature tree")


@pytest.fixture(params=[name for name in options("dataset") if name != "base"])
def module(request: pytest.FixtureRequest, tmp_path: Path, cityscapes_tree: Path) -> SegmentationDataModule:
    return data(request.param, tmp_path / "tree", cityscapes_tree)


def test_classes_colours_and_weights_agree(module: SegmentationDataModule) -> None:
    assert 1 < len(set(module.classes)) == len(module.classes)
    assert module.palette.shape == (len(module.classes), 3)
    assert module.palette.dtype == np.uint8
    assert module.class_weights is None or len(module.class_weights) == len(module.classes)
    assert all(0 <= number < len(module.classes) for pair in module.mirror_pairs for number in pair)


def test_every_class_is_in_one_group(module: SegmentationDataModule) -> None:
    if isinstance(module, Folder):
        assert module.class_tree is None
        return
    assert module.class_tree is not None
    groups = list(module.class_tree.values())
    assert sorted(number for group in groups for number in group) == list(range(len(module.classes)))
    assert all(groups)
    assert 2 <= len(groups) < len(module.classes)


def test_a_class_is_in_one_part_of_the_body_at_most(module: SegmentationDataModule) -> None:
    parts = list((module.body_parts or {}).values())
    assert bool(parts) is isinstance(module, LIP | Demo)
    numbers = [number for part in parts for number in part]
    assert len(set(numbers)) == len(numbers)
    assert set(numbers) <= set(range(len(module.classes)))
    assert all(parts)


def test_the_table_names_every_class(module: SegmentationDataModule) -> None:
    assert module.table.shape == (256,)
    assert set(module.table.tolist()) - {UNKNOWN, IGNORE} == set(range(len(module.classes)))
    assert IGNORE in module.table, "padding needs an id"


def test_decoding_inverts_encoding(module: SegmentationDataModule) -> None:
    train_ids = np.arange(len(module.classes), dtype=np.uint8).reshape(1, -1)
    assert np.array_equal(module.decode(module.encode(train_ids)), train_ids)
    assert module.decode(module.encode(np.array([IGNORE]))) == IGNORE


def test_training_batches_are_bytes_of_one_size(module: SegmentationDataModule) -> None:
    batches = list(module.training_dataloader(4))
    assert len(batches) == 4
    for batch in batches:
        assert batch["image"].dtype == batch["label"].dtype
        assert batch["image"].shape == (2, 3, *batch["label"].shape[1:])
        assert set(np.unique(batch["label"])) <= {*range(len(module.classes)), IGNORE}


def test_resuming_and_workers_change_nothing(module: SegmentationDataModule, request: pytest.FixtureRequest) -> None:
    unbroken = list(module.training_dataloader(6))
    module.num_workers = 2
    resumed = list(module.training_dataloader(6, start=3))
    for one, other in zip(unbroken[3:], resumed, strict=True):
        assert all((one[key] == other[key]).all() for key in ("image", "label", "index"))


def test_evaluation_reads_every_image_once_at_its_own_size(module: SegmentationDataModule) -> None:
    batches = list(module.evaluation_dataloader("val"))
    assert [batch["index"].item() for batch in batches] == list(range(len(module.pairs("val"))))
    for batch in batches:
        assert batch["image"].shape[-2:] == batch["label"].shape[-2:]
        size = module.test_size(*batch["label"].shape[-2:])
        assert all(isinstance(side, int) and side > 0 for side in size)


def test_an_unknown_split_is_reported(module: SegmentationDataModule) -> None:
    with pytest.raises(UserError, match="no split 'valid'"):
        module.pairs("valid")


def test_a_missing_root_is_reported(module: SegmentationDataModule) -> None:
    module.root = Path("/nowhere")
    with pytest.raises(UserError, match="expected"):
        module.pairs("train")


def test_weights_of_classes_can_be_given(module: SegmentationDataModule, tmp_path: Path, cityscapes_tree: Path) -> None:
    for count in (len(module.classes), 2):
        weights = [0.5] * count
        name = type(module).__name__.lower()
        if count == len(module.classes):
            assert (
                data(name, tmp_path / str(count), cityscapes_tree, class_weights=weights).class_weights
                == (0.5,) * count
            )
        else:
            with pytest.raises(UserError, match=r"class_weights=\[0.5,0.5\]: expected .* one for each class, not 2"):
                data(name, tmp_path / str(count), cityscapes_tree, class_weights=weights)
