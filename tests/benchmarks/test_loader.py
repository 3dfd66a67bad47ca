"""The loader benchmark runs, and its loaders return correct samples; the timings are not tested."""

from pathlib import Path

import loader
import pytest
import torch
from loader import benchmark
from plain_loader import PlainLoader
from synthetic_tree import write_synthetic_tree
from trees import ade20k_tree

from ocnet_pl.dataset import reading
from ocnet_pl.dataset.ade20k import ADE20K
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.dataset.sampler import Draw
from ocnet_pl.errors import UserError


def test_three_loaders_are_timed(tmp_path: Path) -> None:
    write_synthetic_tree(tmp_path / "tree", 3, (64, 128))
    data = Cityscapes(str(tmp_path / "tree"), crop_size=(48, 48))
    decoders = reading.plain_png, reading.pillow
    plain, ours, cached = benchmark(data, tmp_path, draws=2, rounds=2)
    assert [timing.loader for timing in (plain, ours, cached)] == [loader.PLAIN, loader.OURS, loader.CACHED]
    assert 0 < plain.decoder_ms < plain.total_ms
    assert 0 < ours.decoder_ms < ours.total_ms
    assert cached.decoder_ms == 0
    assert (reading.plain_png, reading.pillow) == decoders


def test_the_plain_loader_makes_samples(cityscapes_tree: Path) -> None:
    data = Cityscapes(str(cityscapes_tree), crop_size=(40, 48))
    plain = PlainLoader(data.pairs("train"), data.table, data.crop_size, [0.5, 1.0, 2.0], seed=0)
    for position in range(3):
        sample = plain[Draw(0, position)]
        assert sample["image"].shape == (3, 40, 48)
        assert sample["image"].dtype == torch.float32
        assert sample["label"].shape == (40, 48)
        assert set(sample["label"].unique().tolist()) <= {*range(19), 255}


def test_other_training_transforms_are_refused(tmp_path: Path) -> None:
    root = ade20k_tree(tmp_path / "tree", train=[(40, 60)], val=[(40, 60)])
    with pytest.raises(UserError, match="dataset=cityscapes, demo or folder"):
        benchmark(ADE20K(str(root)), tmp_path)


def test_the_script(cityscapes_tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "dataset=cityscapes", f"dataset.root={cityscapes_tree}", "dataset.crop_size=[24,24]"
    loader.main([*arguments, "--rounds", "1"])
    out = capsys.readouterr().out
    assert "ours, cached" in out
    assert "machine: " in out
