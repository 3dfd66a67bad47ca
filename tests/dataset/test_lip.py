import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHORT, Main
from PIL import Image
from trees import lip_tree

from ocnet_pl.dataset.labels import mirroring_table
from ocnet_pl.dataset.lip import LIP
from ocnet_pl.dataset.reading import read_label
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.dataset.transforms import HorizontalFlip, training_transform
from ocnet_pl.errors import UserError

SIZES = {"train": [(80, 40), (61, 33), (50, 50), (90, 62)], "val": [(80, 40), (33, 61), (50, 51)]}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return lip_tree(tmp_path / "lip", **SIZES)


def data(root: Path) -> LIP:
    return LIP(str(root), size=(40, 40), crop_size=(40, 40), batch_size=4, num_workers=0)


def test_the_official_table() -> None:
    assert len(LIP.classes) == 20
    assert [LIP.classes[i] for i in (0, 14, 15, 18, 19)] == [
        "Background", "Left-arm", "Right-arm", "Left-shoe", "Right-shoe",
    ]  # fmt: skip
    assert LIP.palette[14].tolist() == [51, 170, 221]
    assert LIP.table[[0, 19, 255]].tolist() == [0, 19, 255]
    assert LIP.mirror_pairs == ((14, 15), (16, 17), (18, 19))


@pytest.mark.parametrize("layout", ["official", "nested", "flat"])
def test_archives_are_found_as_they_unpack(layout: str, tmp_path: Path) -> None:
    module = data(lip_tree(tmp_path, layout, **SIZES))
    assert [len(module.pairs(split)) for split in ("train", "val")] == [4, 3]
    image, label = module.pairs("val")[1]
    assert (image.name, label.name) == ("2_14.jpg", "2_14.png")


def test_what_the_lists_name_must_be_there(tree: Path) -> None:
    images = tree / "TrainVal_images"
    (images / "val_images/2_14.jpg").unlink()
    with pytest.raises(UserError, match=r"2_14\.jpg: no such file; .* from the list of 'val'"):
        data(tree).pairs("val")
    (tree / "TrainVal_parsing_annotations/train_segmentations/2_14.png").unlink()
    with pytest.raises(UserError, match="image without its label"):
        data(tree).pairs("train")
    (images / "val_id.txt").unlink()
    with pytest.raises(UserError, match=r"no val_id\.txt in TrainVal_images"):
        data(tree).pairs("val")


def test_grey_photographs_load(tree: Path) -> None:
    module = data(tree)
    image = module.pairs("val")[0][0]
    with Image.open(image) as stored:
        assert stored.mode == "L"
    sample = SegmentationDataset(module.pairs("val"), module.table)[0]
    assert sample["image"].shape == (3, 80, 40)


def test_flipping_a_sample_twice_is_the_identity(tree: Path) -> None:
    module = data(tree)
    flip = HorizontalFlip(mirroring_table(module.table, module.mirror_pairs), p=1.0)
    once, twice = training_transform([flip]), training_transform([flip, flip])

    def sample(transform: object) -> dict[str, torch.Tensor]:
        return SegmentationDataset(module.pairs("train"), module.table, transform)[1]

    plain = sample(None)
    for transform in (once, twice):
        transform.transforms = transform.transforms[:-1]  # without the flip of every training, which is drawn
    assert all(torch.equal(plain[key], sample(twice)[key]) for key in ("image", "label"))
    mirrored = sample(once)
    assert torch.equal(mirrored["image"], plain["image"].flip(-1))
    back = mirrored["label"].flip(-1)
    for left, right in LIP.mirror_pairs:
        assert torch.equal(back == left, plain["label"] == right)
        assert torch.equal(back == right, plain["label"] == left)
    assert (plain["label"] == 14).any()
    unpaired = plain["label"] < 14
    assert torch.equal(back[unpaired], plain["label"][unpaired])


def test_every_second_training_label_is_mirrored_with_its_sides(tmp_path: Path) -> None:
    """A red left arm on the left of the picture, a blue right arm on its right: red is left, however it is flipped."""
    tree = lip_tree(tmp_path, train=[(40, 40)] * 2, val=[(40, 40)])
    for image, label in data(tree).pairs("train"):
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[:, :20, 0] = picture[:, 20:, 2] = 255
        Image.fromarray(picture).save(image, quality=95)
        Image.fromarray(np.repeat([[14] * 20 + [15] * 20], 40, 0).astype(np.uint8)).save(label)
    starts = set()
    for batch in data(tree).training_dataloader(10):
        for image, label in zip(batch["image"].int(), batch["label"], strict=True):
            inside = label[0] != 255
            left_of_picture = image[:, 5, inside][:, 0]
            colour = "red" if left_of_picture[0] > left_of_picture[2] else "blue"
            starts.add((colour, int(label[5, inside][0])))
    # The side that is left in the picture is called left, whatever its colour: sides are the viewed person's.
    assert starts == {("red", 14), ("blue", 14)}


def test_training_and_testing_with_flip(tree: Path, workplace: Path, call: Main) -> None:
    arguments = [
        *SHORT,
        "dataset=lip",
        f"dataset.root={tree}",
        "dataset.size=[40,40]",
        "dataset.crop_size=[40,40]",
        "dataset.num_workers=0",
        "inference=flip",
    ]
    assert call("train", *arguments) == 0
    folder = workplace / "outputs/runs/base_oc/seed-0"
    scores = json.loads((folder / "result.json").read_text())["evaluations"]["last/val/flip"]
    assert scores["images"] == 3
    with np.load(folder / "counts-last-val-flip.npz") as file:
        labelled = file["counts"][:, [0, 2]].sum((1, 2))
    truth = [(read_label(label, LIP.table) != 255).sum() for _, label in data(tree).pairs("val")]
    assert labelled.tolist() == truth, "the background counts, at the original size"
    assert call("evaluate", f"checkpoint={folder}/checkpoints/last.ckpt", "inference=whole", "trainer=cpu") == 0
    evaluations = json.loads((folder / "result.json").read_text())["evaluations"]
    assert set(evaluations) == {"last/val/flip", "last/val/whole"}
