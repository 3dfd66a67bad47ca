"""Scores of single images, and the pictures that are chosen by them."""

import math
from pathlib import Path

import numpy as np
import pytest
from results import result

from ocnet_pl.drawing.picture_grid import picture_grid
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.record.image_scores import ImageScores, farthest_apart, image_scores
from ocnet_pl.record.result import Evaluation, Result
from ocnet_pl.tools.explore.class_bars import class_bars
from ocnet_pl.tools.explore.mistakes import FIRST, NEITHER, NOT_LABELLED, SECOND, WRONG, contrast, mistakes


def scores(*miou: float, names: str = "abcdef") -> ImageScores:
    return ImageScores("val", list(names[: len(miou)]), np.array(miou))


def run_of(folder: Path, counts: str | None) -> Result:
    choices = {"model/head": "gp", "inference": "flip"}
    evaluations = {"last/val/flip": Evaluation(0.5, 0.9, {"road": 0.5}, images=2, counts=counts)}
    config = {"dataset": {"val_split": "val"}}
    return result("gp", 0, 50, choices=choices, config=config, evaluations=evaluations, directory=folder)


def test_an_image_is_scored_by_its_own_counts(tmp_path: Path) -> None:
    counts = np.array([[[6, 0], [2, 0], [0, 0]], [[5, 0], [0, 5], [5, 0]]])  # (images, 3, K)
    np.savez(tmp_path / "counts.npz", counts=counts, images=["one.png", "two.png"], classes=["road", "car"])
    found = image_scores(run_of(tmp_path, "counts.npz"))
    assert found.names == ["one.png", "two.png"]
    assert found.split == "val"
    assert found.miou == pytest.approx([6 / 8, (5 / 10 + 0) / 2])  # a class that is only predicted counts as 0
    assert found.worst(1) == [1]


def test_what_was_not_tested_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="best/val/flip was not tested; run ocnet-evaluate checkpoint="):
        image_scores(run_of(tmp_path, "counts.npz"), "best")
    for name in ("counts.npz", None):
        with pytest.raises(UserError, match="per-image counts of last/val/flip are missing"):
            image_scores(run_of(tmp_path, name))


def test_the_worst_come_first_and_empty_images_never() -> None:
    assert scores(0.5, math.nan, 0.1, 0.3).worst(9) == [2, 3, 0]
    assert scores(0.5, math.nan, 0.1, 0.3).worst(2) == [2, 3]


def test_both_sides_are_shown() -> None:
    first, second = scores(0.5, 0.9, 0.2, math.nan, 0.3, 0.4), scores(0.6, 0.5, 0.9, 0.5, 0.3, 0.1)
    assert farthest_apart(first, second, count=2) == [1, 5, 2, 0]
    assert farthest_apart(first, second, count=1) == [1, 2]
    with pytest.raises(UserError, match="same score in every image"):
        farthest_apart(first, first, count=3)
    with pytest.raises(UserError, match="different images"):
        farthest_apart(first, scores(0.6, 0.5, 0.9, 0.5, 0.3, 0.1, names="uvwxyz"), count=1)


def test_mistakes_are_painted_where_they_are() -> None:
    photograph = np.full((1, 6, 3), 200, np.uint8)
    truth = np.array([[0, 1, 2, 3, IGNORE, 4]], np.uint8)
    first = np.array([[0, 1, 9, 8, 5, 9]], np.uint8)
    second = np.array([[0, 9, 2, 7, 6, 9]], np.uint8)
    painted = mistakes(photograph, truth, first)[0].tolist()
    faded = painted[0]
    assert len(set(faded)) == 1
    assert painted == [faded, faded, list(WRONG), list(WRONG), list(NOT_LABELLED), list(WRONG)]
    painted = contrast(photograph, truth, first, second)[0].tolist()
    assert painted == [faded, list(FIRST), list(SECOND), list(NEITHER), list(NOT_LABELLED), faded]


def test_a_grid_holds_every_picture() -> None:
    picture = np.zeros((4, 8, 3), np.uint8)
    rows = [("one", [picture, picture]), ("two", [picture, picture[:2]])]
    figure = picture_grid(["left", "right"], rows, [("road", (128, 64, 128))])
    assert [axes.get_title() for axes in figure.axes[:2]] == ["left", "right"]
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 1, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["road"]


def test_bars_stand_from_best_to_worst() -> None:
    iou = {"road": 0.2, "car": None, "sky": 0.9}
    figure = class_bars(Evaluation(0.55, 0.9, iou, images=1), "GP")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["sky", "road"]
    assert [bar.get_width() for bar in axes.patches] == [90, 20]
    assert [text.get_text() for text in axes.texts] == ["90.0", "20.0"]
    assert figure.get_supxlabel() == "Neither there nor predicted: car"
    assert "55.00 %" in axes.get_title(loc="left")
