"""Confusion matrices of a table's rows, for the HTML page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.drawing.numbers import NONE
from ocnet_pl.escaping import printable
from ocnet_pl.report.row_counts import row_counts
from ocnet_pl.table import Row, Table

MOST_CLASSES = 20
_LEAST = 0.05
"""Share that has the strongest colour if all are smaller: it reads as 0.1."""


@dataclass(frozen=True)
class Confusions:
    """Shares of the pixels of a true class that are predicted as a class, over all tested images and seeds.

    Attributes:
        classes: names of the K shown classes.
        of: number of classes that occur.
        rows: names of the rows with a matrix.
        shares: per cent by row, true class and predicted class (rows, K, K); NaN for a class that is in no label.
        row: place of the row that is shown first.
        minus: place of the row that is subtracted from it; None for none.
    """

    classes: Sequence[str]
    of: int
    rows: Sequence[str]
    shares: NDArray[np.float64]
    row: int
    minus: int | None

    def shown(self) -> NDArray[np.float64]:
        """Matrix that is shown first (K, K)."""
        return self.shares[self.row] - (0 if self.minus is None else self.shares[self.minus])

    @property
    def title(self) -> str:
        """Name of the matrix that is shown first."""
        if self.minus is None:
            return f"{self.rows[self.row]}, in %"
        return f"{self.rows[self.row]} minus {self.rows[self.minus]}, in points"

    def lines(self) -> list[tuple[str, list[tuple[str, str, float]]]]:
        """Lines of the matrix that is shown first: true class; text, `gain` or `loss` and strength of every cell.

        The script of the page writes all other matrices in the same way.
        """
        shown, differs = self.shown(), self.minus is not None
        mistakes = shown if differs else shown[~np.eye(len(shown), dtype=bool)]
        largest = max(float(np.nanmax(np.abs(mistakes), initial=0)), _LEAST)
        return [
            (name, [_cell(value, i == j, largest, differs=differs) for j, value in enumerate(line)])
            for i, (name, line) in enumerate(zip(self.classes, shown.tolist(), strict=True))
        ]

    def content(self) -> dict[str, Any]:
        """Plain content for the page, with two decimals; None for NaN."""
        rounded = np.round(self.shares, 2)
        shares = np.where(np.isnan(rounded), None, rounded.astype(object)).tolist()  # type: ignore[call-overload]
        return {"rows": [printable(name) for name in self.rows], "shares": shares}


def confusions(table: Table) -> Confusions | None:
    """Matrices of the rows that were tested on the same classes; None if no counts are known.

    Of more than `MOST_CLASSES` classes, those whose pixels are missed most often, in the order of the data set. The
    first matrix is that of the highest row minus that of the baseline.
    """
    summed = {row.name: found for row in table.rows if (found := _summed(table, row)) is not None}
    if not summed:
        return None
    classes = next(iter(summed.values()))[0]
    summed = {name: found for name, found in summed.items() if found[0] == classes}
    counts = np.stack([matrix for _, matrix in summed.values()]).astype(np.float64)
    labelled = counts.sum(2, keepdims=True)
    shares = np.divide(100 * counts, labelled, out=np.full_like(counts, np.nan), where=labelled > 0)
    occurs = np.flatnonzero(counts.sum((0, 2)) + counts.sum((0, 1)))
    missed = np.nan_to_num(100 - np.diagonal(shares, axis1=1, axis2=2)).mean(0)
    chosen = np.sort(occurs[np.argsort(-missed[occurs], kind="stable")][:MOST_CLASSES])
    names = list(summed)
    labels = {row.name: row.label for row in table.rows}
    means = {row.name: row.cells[table.main_column].ours.mean for row in table.rows if row.name in names}
    minus = names.index(table.baseline) if table.baseline in names and len(names) > 1 else None
    others = [name for name in names if minus is None or name != table.baseline]
    return Confusions(
        classes=[classes[place] for place in chosen],
        of=len(occurs),
        rows=[labels[name] for name in names],
        shares=shares[:, chosen][:, :, chosen],
        row=names.index(max(others, key=lambda name: means[name])),
        minus=minus,
    )


def _cell(value: float, right: bool, largest: float, *, differs: bool) -> tuple[str, str, float]:
    if math.isnan(value):
        return NONE, "", 0.0
    text = f"{value:+.1f}" if differs else f"{value:.1f}"
    if not float(text):
        return "0", "", 0.0
    good = right == (value > 0) if differs else right
    return text, "gain" if good else "loss", min(1.0, abs(value) / largest)


def _summed(table: Table, row: Row) -> tuple[list[str], NDArray[np.int64]] | None:
    """Names of the classes, and the sum of the matrices of a row's runs; None if one is unknown, or they differ."""
    kept = row_counts(table, row)
    if kept is None or not all(counts.confusion.size and counts.classes == kept[0].classes for counts in kept):
        return None
    return list(kept[0].classes), np.sum([counts.confusion for counts in kept], axis=0)
