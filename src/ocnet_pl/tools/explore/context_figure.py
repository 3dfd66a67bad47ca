"""Object context maps as the paper's figure 3 has them: the image, its truth, and a map for every marked pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ocnet_pl.atomic import whole_file
from ocnet_pl.drawing.colour_legend import colour_legend
from ocnet_pl.errors import UserError
from ocnet_pl.escaping import figure_text

Rgb = NDArray[np.uint8]
Shares = tuple[float, float]
"""Of a map on the pixel's own class, and of equal weights."""
FORMATS = (".png", ".pdf", ".svg")

_EXPLANATION = "Every map from 0 (dark) to its greatest weight (bright), in multiples of equal weights."
_SHARES = "Below it, the share of the weight on pixels of the marked pixel's class, and what equal weights would give."
_WIDTH = 2.6
"""Of a panel, in inches."""
COLOURS = mpl.colormaps["inferno"]
_MOST_PIXELS = 832
_GAMMA = 0.7
"""Small weights stay visible beside great ones."""
_DIM = 0.35
"""How bright the image shines through where a map weighs nothing."""


@dataclass(frozen=True)
class Column:
    """What one map of one network adds.

    Attributes:
        title: for readers.
        prediction: RGB (H, W, 3); None where the column before is of the same network.
        maps: (pixels, H, W), in multiples of equal weights.
        shares: of every pixel; None where its class is not known.
    """

    title: str
    prediction: Rgb | None
    maps: NDArray[np.float32]
    shares: Sequence[Shares | None]


@dataclass(frozen=True)
class Pixel:
    """One that is asked about, and its class."""

    x: int
    y: int
    name: str


@dataclass(frozen=True)
class Picture:
    """Everything that the figure shows.

    Attributes:
        image: RGB (H, W, 3).
        truth: RGB (H, W, 3); None where it is not known.
        columns: one for every map.
        pixels: that are asked about.
        legend: name and colour of the classes.
    """

    image: Rgb
    truth: Rgb | None
    columns: Sequence[Column]
    pixels: Sequence[Pixel]
    legend: Sequence[tuple[str, NDArray[np.uint8]]]


def heat(weights: NDArray[np.float32], image: Rgb) -> NDArray[np.float32]:
    """A map over a dim image, both (H, W), as RGB (H, W, 3) in 0..1; brightest where the weight is greatest."""
    strength = (weights / weights.max()) ** _GAMMA
    grey = (image @ np.array([0.299, 0.587, 0.114]) / 255 * _DIM)[..., None]
    # Screen blending: where the map is dark the image is seen, where it is bright the map alone.
    glow = COLOURS(strength)[..., :3]
    blended: NDArray[np.float32] = (1 - (1 - grey * (1 - strength[..., None])) * (1 - glow)).astype(np.float32)
    return blended


def context_figure(picture: Picture) -> Figure:
    """The image and its truth at the left, a column for every map; predictions above, a row for every pixel."""
    givens = [("Image", picture.image)] + ([] if picture.truth is None else [("Truth", picture.truth)])
    rows, columns = 1 + len(picture.pixels), len(givens) + len(picture.columns)
    height, width = picture.image.shape[:2]
    panel = _WIDTH * height / width
    layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(columns * _WIDTH + 0.3, rows * (panel + 0.22) + 0.85), layout=layout)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    for i, (title, given) in enumerate(givens):
        grid[0, i].set_title(title, fontsize=10)
        for row in range(rows):
            _show(grid[row, i], given, picture)
    for i, column in enumerate(picture.columns, len(givens)):
        grid[0, i].set_title(figure_text(column.title), fontsize=10)
        if column.prediction is not None:
            _show(grid[0, i], column.prediction, picture)
        for row, weights in enumerate(column.maps, 1):
            _show(grid[row, i], heat(_shrunk(weights), _shrunk(picture.image)), picture)
            told = _caption(float(weights.max()), column.shares[row - 1])
            grid[row, i].set_xlabel(told, fontsize=8, labelpad=2)
    for row, pixel in enumerate(picture.pixels, 1):
        grid[row, 0].set_ylabel(figure_text(pixel.name), fontsize=10)
        for axes in grid[row]:
            _mark(axes, pixel)
    shares = any(share for column in picture.columns for share in column.shares)
    colour_legend(figure, picture.legend, columns=10, title="\n".join([_EXPLANATION, *[_SHARES] * shares]))
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """As PNG, PDF or SVG, by the suffix of the file.

    Raises:
        UserError: another suffix, or a file that cannot be written.
    """
    refuse_other_formats(path)
    try:
        kind = path.suffix.lower().removeprefix(".")
        with whole_file(path) as file:
            figure.savefig(file, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written ({error.strerror}); give another file") from error


def refuse_other_formats(path: Path) -> None:
    """Before anything is computed.

    Raises:
        UserError: a suffix of no format.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--out {path}: the suffix decides the format; choose one of {', '.join(FORMATS)}")


def _show(axes: Axes, panel: Rgb | NDArray[np.float32], picture: Picture) -> None:
    """In the coordinates of the image."""
    height, width = picture.image.shape[:2]
    axes.imshow(_shrunk(panel), extent=(-0.5, width - 0.5, height - 0.5, -0.5))


def _shrunk(panel: NDArray[Any]) -> NDArray[Any]:
    """To twice what is printed: a page of full-sized street scenes would take a gigabyte."""
    height, width = panel.shape[:2]
    if width <= _MOST_PIXELS:
        return panel
    size = _MOST_PIXELS, max(1, round(height * _MOST_PIXELS / width))
    return np.asarray(cv2.resize(panel, size, interpolation=cv2.INTER_AREA))


def _mark(axes: Axes, pixel: Pixel) -> None:
    for colour, size, thickness in (("white", 11, 3.4), ("red", 10, 1.8)):
        axes.plot(pixel.x, pixel.y, "+", color=colour, markersize=size, markeredgewidth=thickness)


def _caption(brightest: float, share: Shares | None) -> str:
    peak = f"up to {brightest:.0f}x" if brightest >= 10 else f"up to {brightest:.1f}x"
    return peak if share is None else f"{100 * share[0]:.0f} % on its class (equal: {100 * share[1]:.0f} %), {peak}"
