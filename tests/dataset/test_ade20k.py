import json
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from conftest import SHORT, Main
from trees import ade20k_tree

import ocnet_pl
from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.reading import read_image, read_label, read_size
from ocnet_pl.errors import UserError

LANDSCAPE, PORTRAIT = (
    [(40, 60), (30, 70), (64, 64), (50, 80), (48, 90), (33, 40), (60, 61)],
    [(60, 40), (80, 50), (70, 33)],
)
SIZES = {"train": LANDSCAPE + PORTRAIT, "val": [(40, 60), (60, 40), (90, 31), (100, 120)]}
SMALL = {"short_sides": (24, 40), "max_long_side": 80, "test_short_side": 30}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return ade20k_tree(tmp_path / "ADEChallengeData2016", **SIZES)


def data(root: Path, **settings: object) -> ADE20K:
    return ADE20K(str(root), **({"batch_size": 4, "num_workers": 0} | SMALL | settings))


def test_the_official_table() -> None:
    assert len(ADE20K.classes) == 150
    assert ADE20K.classes[:3] == ("wall", "building", "sky")
    assert ADE20K.classes[149] == "flag"
    assert ADE20K.palette[:2].tolist() == [[120, 120, 120], [180, 120, 120]]
    assert ADE20K.table[[0, 1, 150, 255]].tolist() == [255, 0, 149, 255]
    assert ADE20K.class_weights is None


def test_pairs(tree: Path) -> None:
    pairs = data(tree).pairs("val")
    assert len(pairs) == 4
    assert pairs[0] == (
        tree / "images/validation/ADE_val_00000001.jpg",
        tree / "annotations/validation/ADE_val_00000001.png",
    )
    pairs[2][1].unlink()
    with pytest.raises(UserError, match=r"ADE_val_00000003\.jpg: image without its label"):
        data(tree).pairs("val")


def test_batches_are_as_csail_makes_them(tree: Path) -> None:
    module = data(tree)
    pairs = module.pairs("train")
    originals = [read_size(image) for image, _ in pairs]
    shapes = set()
    for batch in module.training_dataloader(30):
        height, width = batch["label"].shape[-2:]
        shapes.add((height, width))
        assert height % 8 == width % 8 == 0
        drawn = [originals[index] for index in batch["index"]]
        assert len({high > wide for high, wide in drawn}) == 1, "one orientation"
        fits = []
        for short_side in SMALL["short_sides"]:
            scales = [min(short_side / min(size), 80 / max(size)) for size in drawn]
            sizes = [
                (int(high * s + 1e-9), int(wide * s + 1e-9)) for (high, wide), s in zip(drawn, scales, strict=True)
            ]
            largest = [-(-max(side) // 8) * 8 for side in zip(*sizes, strict=True)]
            fits.append(largest == [height, width])
            if fits[-1]:
                for (high, wide), label in zip(sizes, batch["label"], strict=True):
                    assert (label[high:] == 255).all()
                    assert (label[:, wide:] == 255).all()
        assert any(fits), "one short side for all images of the batch"
    assert len(shapes) > 4


def test_two_processes_share_the_images_of_a_step(tree: Path) -> None:
    whole = [batch["index"].tolist() for batch in data(tree).training_dataloader(8)]
    shards = [data(tree).training_dataloader(8, rank=rank, world_size=2) for rank in range(2)]
    together = [list(chain(*(batch["index"].tolist() for batch in batches))) for batches in zip(*shards, strict=True)]
    assert together == whole


def test_testing_is_at_the_short_side_in_multiples_of_eight() -> None:
    module = ADE20K("")
    assert module.test_size(512, 683) == (456, 600)
    assert module.test_size(683, 512) == (600, 456)
    assert module.test_size(300, 3000) == (104, 1000)


def test_training_and_testing(tree: Path, workplace: Path, call: Main) -> None:
    arguments = [
        *SHORT,
        "dataset=ade20k",
        f"dataset.root={tree}",
        *(f"dataset.{key}={list(value) if isinstance(value, tuple) else value}" for key, value in SMALL.items()),
        "dataset.num_workers=0",
        "model/head=asp_oc",
    ]
    assert call("train", *arguments) == 0
    folder = workplace / "outputs/runs/asp_oc/seed-0"
    scores = json.loads((folder / "result.json").read_text())["evaluations"]["last/val/whole"]
    assert scores["images"] == 4
    assert 0 <= scores["pixel_accuracy"] <= 1
    with np.load(folder / "counts-last-val-whole.npz") as file:
        labelled = file["counts"][:, [0, 2]].sum((1, 2))
    truth = [(read_label(label, ADE20K.table) > 0).sum() for _, label in data(tree).pairs("val")]
    assert labelled.tolist() == truth, "every labelled pixel of the original image counts once"
    network = ocnet_pl.load(folder / "checkpoints/last.ckpt")
    image = read_image(tree / "images/validation/ADE_val_00000003.jpg")
    assert network.predict(image).shape == image.shape[:2] == (90, 31)
    assert read_size(folder / "samples/ADE_val_00000001-prediction.png") == (40, 60)
