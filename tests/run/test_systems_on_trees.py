"""Compared systems on ADE20K and LIP: trained, and tested in windows and at several scales with mirror images."""

from pathlib import Path

import pytest
from conftest import SHORT, Main
from test_systems import SYSTEMS, TERMS, run_of
from trees import ade20k_tree, lip_tree

from ocnet_pl.record.result import Result

NARROW = {"dfn": ("model.head.class_channels=1",)}
"""Further narrow layers of systems that are wide on 150 classes."""
SIZES = [(40, 60), (30, 70), (60, 40), (80, 50)]


@pytest.mark.parametrize("head", SYSTEMS)
def test_a_system_trains_on_other_data_sets(head: str, workplace: Path, call: Main) -> None:
    ade20k_tree(workplace / "ade20k", train=SIZES, val=SIZES[:1])
    lip_tree(workplace / "lip", train=SIZES, val=SIZES[:1])
    arguments = {
        "ade20k": ("dataset.short_sides=[24,40]", "dataset.max_long_side=80", "dataset.test_short_side=30",
                   "inference=sliding", "inference.window=[32,32]", "inference.stride=[24,24]"),
        "lip": ("dataset.crop_size=[48,48]", "dataset.size=[48,48]", "inference=multi_scale"),
    }  # fmt: skip
    for dataset, own in arguments.items():
        command = [*SHORT, "schedule.max_steps=2", "schedule.batch_size=2", "dataset.num_workers=0"]
        command += [f"dataset={dataset}", f"dataset.root={dataset}", f"name={dataset}", f"model/head={head}"]
        assert call("train", *command, *own, *NARROW.get(head, ())) == 0
        result = Result.read(run_of(dataset, head).result)
        assert result.steps == 2
        assert {f"train/{term}" for term in TERMS[head]} <= set(result.curves)
