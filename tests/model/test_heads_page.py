"""The facts in the table of docs/heads.md are those of the networks."""

from pathlib import Path

import pytest

from ocnet_pl.build import build_network
from ocnet_pl.config.compose import compose
from ocnet_pl.dataset.cityscapes import Cityscapes
from ocnet_pl.model.contract import Attending, Supervised, head_levels

PAGE = Path(__file__).parents[2] / "docs" / "heads.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("| ") and "`" in line
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_table_of_heads_is_true(row: list[str]) -> None:
    label, option, reads, parameters, auxiliary, losses, attention, _ = row
    config = compose(f"model/head={option.strip('`')}", "model/backbone=resnet101", "model.backbone.pretrained=false")
    network = build_network(config, 19, auxiliary=False, class_tree=Cityscapes.class_tree)
    assert config.model.head.label == label
    parts = (network.head, network.classifier)
    assert f"{sum(p.numel() for part in parts for p in part.parameters()) / 1e6:.1f}" == parameters
    assert config.loss.auxiliary_weight == float(auxiliary)
    strides = network.backbone.feature_info.reduction()[-len(head_levels(network.head)) :]  # type: ignore[operator, union-attr]
    assert reads.endswith(", ".join(map(str, strides)))
    supervised = isinstance(network.head, Supervised) or bool(config.loss.additional)
    assert supervised is (losses != "-")
    assert isinstance(network.head, Attending) is (attention != "-")
