"""Measures of the attention of checkpoints: saved next to their runs, and printed."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.drawing.progress import progress_of
from ocnet_pl.model.object_context import NoAttentionError
from ocnet_pl.record.context import (
    ContextMeasure,
    Estimate,
    Estimates,
    Setting,
    context_file,
    differences,
    measure_beside,
)
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.result import Result
from ocnet_pl.report.terminal import plain
from ocnet_pl.run.provenance import weights_sha256
from ocnet_pl.tools.explore.measuring import measure_split
from ocnet_pl.tools.explore.opening import OpenedCheckpoint, open_checkpoint

_LEGEND = (
    "All in %. On own class: share of a pixel's labelled weight that falls on pixels of its own class, with a 95 % "
    "interval over images; next to it the share of uniform attention. Entropy: relative to uniform attention. "
    "Distance: weighted mean, in image diagonals. Mean: every class counts the same."
)


def measure_checkpoints(
    paths: Sequence[Path],
    device: torch.device,
    root: Path | None = None,
    *,
    split: str | None = None,
    images: int | None = None,
    pixels: int = 10,
    seed: int = 0,
) -> None:
    """Measure checkpoints, print the results, and save each next to its run's result.

    Of several checkpoints, those of heads without attention are skipped. By default, all images of the training's
    validation split are measured, with `pixels` of each class in each image.
    """
    console = Console()

    def note(text: str) -> None:
        console.print(plain(text), highlight=False, soft_wrap=True)

    for path in paths:
        try:
            opened = open_checkpoint(path, device, root, attending=True)
        except NoAttentionError as error:
            if len(paths) == 1:
                raise
            note(f"skipped: {error}")
            continue
        setting = _setting(opened, split, images, pixels, seed)
        file = context_file(opened.run.path, path.stem, setting.split)
        saved = ContextMeasure.read(file) if file.is_file() else None
        if saved and saved.setting == setting:
            _print_measure(str(path), saved, console)
            note(f"already measured: {file}")
        else:
            with progress_of(opened.row, setting.images) as advance:
                measure = measure_context(opened, setting, advance)
            _print_measure(str(path), measure, console)
            note(_save(measure, saved, file, opened.run))
    console.print(_LEGEND, style="dim", highlight=False)


def context_of_runs(
    results: Iterable[Result], images: int, pixels: int, device: torch.device
) -> list[tuple[Result, ContextMeasure]]:
    """Measures of all runs whose heads have attention, on their validation images; nothing is written.

    A measure that `ocnet-explore measure` saved is used if it is of the run's weights. Otherwise the first `images` are
    measured, with `pixels` of each class in each image.
    """
    measured = []
    for result in results:
        measure = measure_beside(result)
        if measure is None:
            try:
                opened = open_checkpoint(RunDirectory(result.directory).last_checkpoint, device, attending=True)
            except NoAttentionError:
                continue
            measure = measure_context(opened, _setting(opened, None, images, pixels, seed=0))
        measured.append((result, measure))
    return measured


def measure_context(
    opened: OpenedCheckpoint, setting: Setting, advance: Callable[[], None] = lambda: None
) -> ContextMeasure:
    """Measure the attention of a checkpoint; `advance` is called after every image."""
    data = opened.data
    dataset = SegmentationDataset(data.pairs(setting.split), data.table)
    kinds, values = measure_split(opened.predictor, dataset, setting.images, setting.pixels, setting.seed, advance)
    return ContextMeasure.of(opened.head, setting, data.classes, kinds, values)


def _setting(opened: OpenedCheckpoint, split: str | None, images: int | None, pixels: int, seed: int) -> Setting:
    opened.data.prepare_data()
    split = split or opened.data.val_split
    available = len(opened.data.pairs(split))
    digest = weights_sha256(opened.predictor.network)
    return Setting(digest, split, min(available, images or available), pixels, seed)


def _save(measure: ContextMeasure, saved: ContextMeasure | None, path: Path, run: RunDirectory) -> str:
    """Save a measure, unless the saved measure of the same weights has more pixels; return a note for the user."""
    if not run.result.is_file():
        return "not saved: the checkpoint is not in the directory of a finished run"
    if not os.access(run.path, os.W_OK):
        return f"not saved: {run.path} cannot be written; change its permissions and measure again"
    if saved is None:
        measure.write(path)
        return f"wrote {path}"
    before, now = saved.setting, measure.setting
    changes = ", ".join(differences(before, now))
    if before.weights_sha256 == now.weights_sha256 and before.images * before.pixels > now.images * now.pixels:
        return f"not saved: {path} contains a measure of more pixels ({changes})"
    measure.write(path)
    return f"replaced {path} ({changes})"


def _print_measure(name: str, measure: ContextMeasure, console: Console) -> None:
    """Print a table for every map of the head, with a line for every class."""
    setting = measure.setting
    images = "1 image" if setting.images == 1 else f"{setting.images} images"
    conditions = f"{setting.split}, {images}, {setting.pixels} pixels of each class, seed {setting.seed}"
    for one in measure.maps:
        title = f"{name}, {one.name}" if one.reach < 1 else name
        grid = RichTable(
            title=Text("\n").join([plain(title), plain(conditions)]), box=SIMPLE_HEAD, title_justify="left"
        )
        grid.add_column("Class")
        for heading in ("On own class (%)", "Uniform", "Difference", "Entropy", "Distance", "Uniform"):
            grid.add_column(heading, justify="right", no_wrap=True)
        for class_name, estimates in one.classes.items():
            grid.add_row(plain(class_name), *_cells(estimates))
        grid.add_section()
        grid.add_row("mean", *_cells(one.overall), style="bold")
        console.print(grid)


def _cells(estimates: Estimates) -> list[str]:
    uniform, *others = (
        _percent(estimates[metric].value) for metric in ("uniform", "entropy", "distance", "uniform_distance")
    )
    return [_interval(estimates["own"]), uniform, _percent(estimates["gain"].value, "+"), *others]


def _interval(estimate: Estimate) -> str:
    """`61.2 [58.1, 64.3]`, or `61.2` if the bounds are unknown."""
    value, low, high = map(_percent, (estimate.value, estimate.low, estimate.high))
    return value if estimate.low is None else f"{value} [{low}, {high}]"


def _percent(share: float | None, sign: str = "") -> str:
    return "-" if share is None else f"{100 * share:{sign}.1f}"
