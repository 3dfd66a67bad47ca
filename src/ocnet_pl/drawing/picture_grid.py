"""Grid of pictures with a legend of their colours."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ocnet_pl.drawing.colour_legend import Colours, colour_legend
from ocnet_pl.drawing.overlay import Picture
from ocnet_pl.escaping import figure_text

_WIDTH = 2.6
"""Width of a picture in inches."""


def picture_grid(titles: Sequence[str], rows: Sequence[tuple[str, Sequence[Picture]]], colours: Colours) -> Figure:
    """Draw pictures with a title above every column, and a caption below the first picture of every row.

    Args:
        titles: titles of the columns.
        rows: caption and one picture per column, RGB (H, W, 3).
        colours: legend.
    """
    heights = [_WIDTH * max(picture.shape[0] / picture.shape[1] for picture in pictures) for _, pictures in rows]
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=(_WIDTH * len(titles), sum(heights) + 0.25 * len(rows) + 0.7), layout=layout)
    grid = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
    for line, (caption, pictures) in zip(grid, rows, strict=True):
        line[0].set_xlabel(figure_text(caption), fontsize=8, loc="left", labelpad=2)
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(figure_text(title), fontsize=10)
    colour_legend(figure, colours, columns=7)
    return figure
