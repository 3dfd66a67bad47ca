"""Legend of the colours in pictures."""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ocnet_pl.escaping import figure_text

Colours = Sequence[tuple[str, Iterable[int]]]
"""Names and RGB values, 0 to 255."""


def colour_legend(figure: Figure, colours: Colours, *, columns: int, title: str | None = None) -> None:
    """Add a legend below everything else in a figure, in `columns` columns at most."""
    handles: list[Any] = [Patch(facecolor="#" + bytes(rgb).hex(), label=figure_text(name)) for name, rgb in colours]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), columns),
        frameon=False,
        fontsize=9,
        title=title,
        title_fontsize=8,
        handlelength=1,
        handleheight=1,
    )
