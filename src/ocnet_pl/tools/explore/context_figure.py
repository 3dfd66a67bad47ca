"""Figure of object context maps, laid out like the paper's figure 3."""

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
from ocnet_pl.drawing.overlay import Picture
from ocnet_pl.errors import UserError
from ocnet_pl.escaping import figure_text
from ocnet_pl.tools.explore.context_maps import ContextMaps, MarkedPixel
from ocnet_pl.tools.explore.measuring import Shares

FORMATS = (".png", ".pdf", ".svg")
COLOURS = mpl.colormaps["inferno"]

_SCALE = "Each map is scaled from 0 to its own maximum; the maximum is given relative to uniform attention."
_SHARES = "Below each map: share of the weight on pixels of the marked pixel's class, and that of uniform attention."
_WIDTH = 2.6
"""Width of a panel in inches."""
_MAX_PIXELS = 832
"""Width of a drawn panel in pixels, twice the printed width: full-sized street scenes would take a gigabyte."""
_GAMMA = 0.7
"""Keeps small weights visible next to large weights."""
_DIM = 0.35
"""Brightness of the image where a map is 0."""


def context_figure(maps: ContextMaps) -> Figure:
    """Image and truth on the left, a column for every map; predictions at the top, a row for every pixel."""
    inputs = [("Image", maps.image)] + ([] if maps.truth is None else [("Truth", maps.truth)])
    rows, columns = 1 + len(maps.pixels), len(inputs) + len(maps.columns)
    height, width = maps.image.shape[:2]
    layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.02, wspace=0.01, hspace=0.01)
    size = columns * _WIDTH + 0.3, rows * (_WIDTH * height / width + 0.22) + 0.85
    figure = Figure(figsize=size, layout=layout)
    grid = figure.subplots(rows, columns, squeeze=False)

    def show(axes: Axes, panel: Picture | NDArray[np.float32]) -> None:
        axes.imshow(_shrunk(panel), extent=(-0.5, width - 0.5, height - 0.5, -0.5))  # coordinates of the image

    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for i, (title, panel) in enumerate(inputs):
        grid[0, i].set_title(title, fontsize=10)
        for axes in grid[:, i]:
            show(axes, panel)
    for i, column in enumerate(maps.columns, len(inputs)):
        grid[0, i].set_title(figure_text(column.title), fontsize=10)
        if column.prediction is not None:
            show(grid[0, i], column.prediction)
        for axes, weights, shares in zip(grid[1:, i], column.maps, column.shares, strict=True):
            show(axes, heat(_shrunk(weights), _shrunk(maps.image)))
            axes.set_xlabel(_caption(float(weights.max()), shares), fontsize=7, labelpad=2)
    for line, pixel in zip(grid[1:], maps.pixels, strict=True):
        line[0].set_ylabel(figure_text(pixel.name), fontsize=10)
        for axes in line:
            _mark(axes, pixel)
    has_shares = any(shares for column in maps.columns for shares in column.shares)
    colour_legend(figure, maps.legend, columns=10, title=f"{_SCALE}\n{_SHARES}" if has_shares else _SCALE)
    return figure


def heat(weights: NDArray[np.float32], image: Picture) -> NDArray[np.float32]:
    """A map over a dimmed image, both (H, W), as RGB (H, W, 3) in 0..1; brighter for larger weights."""
    strength = (weights / weights.max()) ** _GAMMA
    grey = (image @ np.array([0.299, 0.587, 0.114]) / 255 * _DIM)[..., None]
    # Screen blending shows the image where the map is dark, and only the map where it is bright.
    glow = COLOURS(strength)[..., :3]
    blended: NDArray[np.float32] = (1 - (1 - grey * (1 - strength[..., None])) * (1 - glow)).astype(np.float32)
    return blended


def save_figure(figure: Figure, path: Path) -> None:
    """Save as PNG, PDF or SVG, chosen by the suffix.

    Raises:
        UserError: another suffix, or a file that cannot be written.
    """
    refuse_other_formats(path)
    try:
        kind = path.suffix.lower().removeprefix(".")
        with whole_file(path) as file:
            figure.savefig(file, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written ({error.strerror}); choose another file") from error


def refuse_other_formats(path: Path) -> None:
    """Check the suffix before anything is computed.

    Raises:
        UserError: the suffix of another format.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--out {path}: the suffix sets the format; choose one of {', '.join(FORMATS)}")


def _shrunk(panel: NDArray[Any]) -> NDArray[Any]:
    height, width = panel.shape[:2]
    if width <= _MAX_PIXELS:
        return panel
    size = _MAX_PIXELS, max(1, round(height * _MAX_PIXELS / width))
    return np.asarray(cv2.resize(panel, size, interpolation=cv2.INTER_AREA))


def _mark(axes: Axes, pixel: MarkedPixel) -> None:
    for colour, size, thickness in (("white", 11, 3.4), ("red", 10, 1.8)):
        axes.plot(pixel.x, pixel.y, "+", color=colour, markersize=size, markeredgewidth=thickness)


def _caption(maximum: float, shares: Shares | None) -> str:
    peak = f"up to {maximum:.0f}x" if maximum >= 10 else f"up to {maximum:.1f}x"
    if shares is None:
        return peak
    own, uniform = (f"{100 * share:.0f} %" for share in shares)
    return f"{own} on own class (uniform: {uniform}), {peak}"
