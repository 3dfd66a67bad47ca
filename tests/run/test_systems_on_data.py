"""Compared systems on miniature trees of other data sets, under other protocols, and on crops without labels."""

from pathlib import Path

import pytest
import torch
from conftest import SHORT, Main
from test_systems import SYSTEMS, chosen
from trees import ade20k_tree, lip_tree

from ocnet_pl.build import build_bare_module
from ocnet_pl.config.compose import compose

SIZES = [(40, 60), (30, 70), (60, 40), (80, 50)]
SMALL = {
    "ade20k": ("dataset.short_sides=[24,40]", "dataset.max_long_side=80", "dataset.test_short_side=30"),
    "lip": ("dataset.crop_size=[48,48]",),
}
"""Data sets at the size of the trees."""
MULTI_SCALE = ("inference=multi_scale", "inference.flip=true")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "protocol"), [("ade20k", MULTI_SCALE), ("lip", ("inference=sliding",)), ("lip", MULTI_SCALE)]
)
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_trains_and_is_tested(
    system: str, dataset: str, protocol: tuple[str, ...], workplace: Path, call: Main
) -> None:
    draw = ade20k_tree if dataset == "ade20k" else lip_tree
    root = draw(Path("data"), train=SIZES, val=SIZES[:2])
    options = [option for option in SHORT if not option.startswith(("schedule.max_steps", "schedule.batch_size"))]
    data = (f"dataset={dataset}", f"dataset.root={root}", "dataset.num_workers=0", *SMALL[dataset], *protocol)
    assert call("train", *chosen(system, options), *data, "schedule.max_steps=2", "schedule.batch_size=2") == 0
    assert list(Path("outputs").glob("runs/*/seed-0/result.json"))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_crop_without_labels_gives_every_gradient(system: str) -> None:
    """Another process of DDP waits for it."""
    config = compose(
        *chosen(system, ("model/backbone=tiny", "model.head.out_channels=8", "model.auxiliary_channels=8"))
    )
    module = build_bare_module(config, 5).train()
    label = torch.full((2, 64, 96), 255, dtype=torch.uint8)
    terms = module.terms({"image": torch.randint(256, (2, 3, 64, 96), dtype=torch.uint8), "label": label})
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert total == 0
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name
