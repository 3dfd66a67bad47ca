"""What the colours of pictures mean."""

from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ocnet_pl.escaping import figure_text

Legend = Sequence[tuple[str, Iterable[int]]]
"""Name and RGB, 0 to 255."""


def colour_legend(figure: Figure, legend: Legend, *, columns: int, title: str | None = None) -> None:
    """Below everything else in the figure, in so many columns at most."""
    handles: list[Any] = [Patch(facecolor="#" + bytes(rgb).hex(), label=figure_text(name)) for name, rgb in legend]
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
