"""The measure of object context, on attentions whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from results import result
from torch import Tensor

from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.object_context import ObjectContext
from ocnet_pl.model.object_context_pooling import ObjectContextPooling
from ocnet_pl.randomness import derive_seed
from ocnet_pl.record.class_means import class_means
from ocnet_pl.record.context import METRICS, ContextMeasure, MapKind, Setting, context_file, differences
from ocnet_pl.record.sealed import read_json, write_json
from ocnet_pl.report.files import comma_separated, markdown
from ocnet_pl.table import read_tables
from ocnet_pl.tools.explore.measuring import draw_pixels, measure_map

WHOLE = MapKind("whole image", 1.0)
SIZE = (29, 57)
"""Of the image; its features are 5 by 9, and every cell has 7 whole pixels a side, or 4 at the border."""


class Rigged(ObjectContextPooling):
    """Attends with features that are given: positions of the same class match, all others do not."""

    def __init__(self, grid: int = 1, sharpness: float = 1.0) -> None:
        super().__init__(1, 1, 1, 1, grid=grid)
        self.sharpness = sharpness

    def query_key(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        return pooled * self.sharpness, pooled * self.sharpness


def context(features: Tensor, **rigged: float) -> ObjectContext:
    return ObjectContext([(Rigged(**rigged), features)], SIZE, SIZE)


def scene() -> tuple[np.ndarray, Tensor]:
    """A label in which every class fills whole positions, and one channel for each class that says so. (1, 4, 5, 9)."""
    cells = torch.zeros(5, 9, dtype=torch.long)
    cells[:2, 3:] = 1
    cells[3:, :4] = 2
    grid = context(torch.zeros(1, 4, 5, 9)).positions(0)
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    at = grid.at(torch.stack([x.flatten(), y.flatten()], 1))
    label = cells[at[:, 1], at[:, 0]].view(SIZE).to(torch.uint8).numpy()
    return label, torch.nn.functional.one_hot(cells, 4).permute(2, 0, 1).unsqueeze(0).float()


def measured(features: Tensor, label: np.ndarray, pixels: int = 20, **rigged: float) -> dict[str, np.ndarray]:
    points = {int(k): draw_pixels(label == k, pixels, int(k)) for k in np.unique(label) if k != IGNORE}
    values = measure_map(context(features, **rigged), 0, label, points, num_classes=4)
    return dict(zip(METRICS, values.T, strict=True))


def test_attention_to_the_same_class_is_one() -> None:
    label, features = scene()
    found = measured(features, label, sharpness=40.0)
    assert found["own"][:3] == pytest.approx(1, abs=1e-6)
    assert np.isnan(found["own"][3])
    assert (found["distance"][:3] < found["uniform_distance"][:3]).all()
    assert found["entropy"][:3] == pytest.approx(np.log([25, 12, 8]) / np.log(45), abs=1e-5)
    assert found["ignored"][:3] == pytest.approx(0, abs=1e-6)


def test_equal_attention_is_the_share_of_the_class() -> None:
    label, features = scene()
    found = measured(torch.zeros_like(features), label)
    assert found["own"][:3] == pytest.approx(np.array([25, 12, 8]) / 45)
    assert found["uniform"][:3] == pytest.approx(found["own"][:3])
    assert found["gain"][:3] == pytest.approx(0, abs=1e-6)
    assert found["entropy"][:3] == pytest.approx(1)
    assert found["distance"][:3] == pytest.approx(found["uniform_distance"][:3])
    # where the border's narrower positions do not favour a class, that is its share of the pixels
    label = np.zeros(SIZE, np.uint8)
    label[:, 29:] = 1
    label[:, 28] = IGNORE
    found = measured(torch.zeros_like(features), label)
    assert found["uniform"][:2] == pytest.approx(0.5)
    assert found["own"][:2] == pytest.approx(0.5)


def test_weight_on_ignored_pixels_counts_neither_way() -> None:
    label, features = scene()
    hidden = label.copy()
    hidden[label == 1] = IGNORE
    found = measured(torch.zeros_like(features), hidden)
    assert found["ignored"][[0, 2]] == pytest.approx(12 / 45)
    assert found["own"][[0, 2]] == pytest.approx(np.array([25, 8]) / 33)
    assert found["uniform"][[0, 2]] == pytest.approx(np.array([25, 8]) / 33)
    assert np.isnan(found["own"][1])
    assert np.isnan(measured(features, np.full_like(label, IGNORE))["own"]).all()


def test_equal_weights_stay_in_the_cell_of_a_grid() -> None:
    label, features = scene()
    for sharpness in (0.0, 40.0):
        found = measured(features, label, grid=2, sharpness=sharpness)
        assert (found["uniform"][:3] < 1).all()
        assert found["own"][:3] == pytest.approx(1 if sharpness else found["uniform"][:3], abs=1e-6)
    one = context(features, grid=2).uniform(0, [(0, 0), (SIZE[1] - 1, SIZE[0] - 1)])
    assert one[0, :2, :4].sum() == pytest.approx(1)
    assert one[1, 2:, 4:].sum() == pytest.approx(1)


def test_the_measure_is_the_sum_of_the_drawn_map() -> None:
    label, features = scene()
    seen = context(torch.rand(features.shape, generator=torch.Generator().manual_seed(0)), sharpness=3.0)
    points = {1: draw_pixels(label == 1, 1, seed=3)}
    ((of_point,),) = seen.maps(points[1]).numpy()
    own = measure_map(seen, 0, label, {**points, 0: [(0, 0)], 2: [(0, 28)]}, num_classes=4)[1, METRICS.index("own")]
    assert own == pytest.approx(of_point[label == 1].sum(), rel=1e-5)


def test_pixels_are_a_function_of_the_seed() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:9, 7:20] = True
    first = draw_pixels(mask, 10, derive_seed(0, "context", 4, 1))
    assert first == draw_pixels(mask, 10, derive_seed(0, "context", 4, 1))
    assert first != draw_pixels(mask, 10, derive_seed(0, "context", 5, 1))
    assert len(set(first)) == 10
    assert all(mask[y, x] for x, y in first)
    assert len(draw_pixels(mask, 100, 0)) == mask.sum()


def test_means_over_classes_and_their_intervals() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(0.3, 0.1, 400), rng.normal(0.7, 0.02, 400), np.full(400, np.nan)], 1)
    values[1:, 2] = np.nan
    values[0, 2] = 0.5
    means = class_means(values[..., None])
    assert means.mean[:, 0] == pytest.approx([*np.nanmean(values, 0), np.nanmean(values, 0).mean()])
    width = (means.high - means.low)[:, 0]
    assert width[0] == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.15)
    assert width[1] == pytest.approx(2 * 1.96 * 0.02 / 20, rel=0.15)
    assert np.isnan(width[2])  # one image says nothing of its spread
    assert (means.low <= means.mean)[[0, 1, 3]].all()


def test_a_class_that_never_occurs_leaves_the_mean_alone() -> None:
    values = np.full((5, 3, 2), np.nan)
    values[:, 0] = 0.25
    means = class_means(values)
    assert means.mean[[0, 3]].tolist() == [[0.25, 0.25]] * 2
    assert np.isnan(means.mean[1:3]).all()
    assert np.isnan(class_means(np.full((2, 1, 1), np.nan)).mean).all()


def test_a_table_shows_what_was_measured(tmp_path: Path) -> None:
    values = np.full((1, 2, 3, len(METRICS)), np.nan)
    values[..., :2, METRICS.index("uniform")] = 0.125
    for seed, (own, weights) in enumerate([(0.5, "base_oc0"), (0.75, "base_oc1"), (0.9, "of another training")]):
        directory = tmp_path / "base_oc" / f"seed-{seed}"
        result("base_oc", seed, 80).write(directory / "result.json")
        values[..., :2, METRICS.index("own")] = own
        measure = ContextMeasure.of("base_oc", Setting(weights, "val", 2, 10, 0), ("a", "b", "c"), [WHOLE], values)
        measure.write(context_file(directory, "last", "val"))
    result("gp", 0, 70).write(tmp_path / "gp" / "seed-0" / "result.json")
    (table,) = read_tables(tmp_path)
    text = markdown(table)
    assert "| Attention on own class (%) |" in text
    assert "| 62.50 ± 17.68 (uniform 12.50) |" in text
    assert "| - | 1 |" in text  # the head without attention
    assert "context,own,2,62.5,17.67" in comma_separated(table)
    for path in tmp_path.rglob("context-*.json"):
        path.unlink()
    (table,) = read_tables(tmp_path)
    assert "Attention" not in markdown(table)


def test_a_measure_reads_back(tmp_path: Path) -> None:
    setting = Setting("abc", "val", 2, 10, 0)
    values = np.full((2, 2, 3, len(METRICS)), np.nan)
    values[:, :, 0], values[0, 1, 2] = 0.5, 0.25
    written = ContextMeasure.of(
        "pyramid_oc", setting, ("sky", "road", "car"), [MapKind("6x6 cells", 1 / 36), WHOLE], values
    )
    assert set(written.maps[0].classes) == {"sky", "car"}
    assert written.widest.name == "whole image"
    path = context_file(tmp_path, "last", "val")
    written.write(path)
    assert path.name == "context-last-val.json"
    assert ContextMeasure.read(path) == written
    old = read_json(path)
    del old["checksum"]
    for of_map, grid in zip(old["maps"], (6, 1), strict=True):
        del of_map["name"], of_map["reach"]
        of_map["grid"] = grid
    write_json(path, old)
    assert [(one.name, one.reach) for one in ContextMeasure.read(path).maps] == [
        (one.name, one.reach) for one in written.maps
    ], "a file of an older version"
    path.write_text('{"head": "base_oc"}')
    with pytest.raises(UserError, match="not a measure of this version"):
        ContextMeasure.read(path)
    assert differences(setting, Setting("abd", "val", 2, 20, 0)) == ["other weights", "pixels 10, now 20"]
