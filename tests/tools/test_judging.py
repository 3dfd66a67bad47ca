"""Pictures and measures of trained runs, as the notebooks ask for them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import Main, checkpoint

from ocnet_pl.errors import UserError
from ocnet_pl.record.context import measure_beside
from ocnet_pl.record.finding import read_results
from ocnet_pl.record.image_scores import image_scores
from ocnet_pl.record.result import Result
from ocnet_pl.tools.explore.context_scatter import context_scatter
from ocnet_pl.tools.explore.measure_runs import context_of_runs
from ocnet_pl.tools.explore.mistakes_figure import contrast_figure, mistakes_figure
from ocnet_pl.tools.explore.opening import open_any

CPU = torch.device("cpu")


def test_rows_of_pictures_are_the_images_asked_for(runs: Path) -> None:
    first, second = (open_any(Path(checkpoint(runs, head)), CPU) for head in ("baseline", "base_oc"))
    scores = [image_scores(Result.read(one.run.result)) for one in (first, second)]
    figure = mistakes_figure(first, scores[0], [3, 1])
    captions = [f"{scores[0].names[index]}: {100 * scores[0].miou[index]:.1f} %" for index in (3, 1)]
    assert [axes.get_xlabel() for axes in figure.axes[::4]] == captions
    figure = contrast_figure(first, second, scores, [0])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["image", "truth", "Baseline", "Base-OC", "where they differ"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"sky", "only Baseline is right", "only Base-OC is right"} <= set(legend)
    with pytest.raises(UserError, match="val holds other images than were tested"):
        mistakes_figure(first, replace(scores[0], names=["other.png"]), [0])


def test_runs_are_measured_or_were_already(runs: Path, call: Main) -> None:
    results = read_results(runs)
    measured = context_of_runs(results, images=2, pixels=3, device=CPU)
    assert sorted(result.head for result, _ in measured) == ["base_oc", "pyramid_oc"]
    assert all((measure.setting.images, measure.setting.pixels) == (2, 3) for _, measure in measured)
    assert not list(runs.rglob("context-*.json"))

    assert call("explore", "measure", checkpoint(runs, "base_oc"), "--pixels", "4", "--device", "cpu") == 0
    base_oc = next(result for result in results if result.head == "base_oc")
    again = context_of_runs([base_oc], images=2, pixels=3, device=CPU)
    assert again == [(base_oc, measure_beside(base_oc))]
    assert again[0][1].setting.pixels == 4
    assert measure_beside(replace(base_oc, weights_sha256="other")) is None

    (axes,) = context_scatter(measured).axes
    dots = {line.get_label(): (line.get_xdata(), line.get_ydata()) for line in axes.lines}
    assert set(dots) == {"Base-OC", "Pyramid-OC", "equal weights"}
    assert dots["Base-OC"][1] == pytest.approx([100 * base_oc.evaluations["last/val/whole"].miou])
