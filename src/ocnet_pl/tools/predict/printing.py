"""Content of predicted masks, on the terminal."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocnet_pl.drawing.numbers import percent
from ocnet_pl.report.terminal import plain


def print_classes(
    title: str, names: Sequence[str], stored: Sequence[int], palette: NDArray[np.uint8], pixels: NDArray[np.int64]
) -> None:
    """Print colour, stored id and share of pixels of every class that occurs, most frequent first."""
    grid = Table("", "Id", "Class", "Pixels (%)", box=SIMPLE_HEAD)
    for column in (1, 3):
        grid.columns[column].justify = "right"
    for class_id in np.argsort(-pixels, kind="stable"):
        if pixels[class_id]:
            colour = Text("  ", "on rgb({},{},{})".format(*palette[class_id]))
            share = percent(pixels[class_id] / pixels.sum())
            grid.add_row(colour, str(stored[class_id]), plain(names[class_id]), share)
    console = Console()
    console.print(plain(title), highlight=False, soft_wrap=True)
    console.print(grid)
