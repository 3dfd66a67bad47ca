"""All pairs of rows as a triangular matrix, for the HTML page."""

from dataclasses import dataclass

from ocnet_pl.drawing.numbers import plus_minus, signed, with_interval
from ocnet_pl.table import Row, Table


@dataclass(frozen=True)
class MatrixCell:
    """Difference of the row of a line to that of a column.

    Attributes:
        text: the difference; empty below the diagonal, a dash if unknown.
        title: interval and p-value.
        decided: True if the rows are told apart.
    """

    text: str = ""
    title: str = ""
    decided: bool = False


@dataclass(frozen=True)
class MatrixLine:
    """One row of the table against all rows below it.

    Attributes:
        label: name of the row.
        mean: its score.
        ranks: ranks it may have, `1-3`; empty if unknown.
        cells: one cell for every row but the highest.
    """

    label: str
    mean: str
    ranks: str
    cells: list[MatrixCell]


def matrix(table: Table) -> list[MatrixLine]:
    """Every row against every row below it, the highest mean first; empty without any pair."""
    if table.analysis is None or not table.analysis.pairs.pairs:
        return []
    rows = {row.name: row for row in table.rows}
    order = table.analysis.pairs.order
    return [
        MatrixLine(
            label=rows[name].label,
            mean=plus_minus(rows[name].cells[table.main_column].ours),
            ranks=_ranks(table, name),
            cells=[_cell(table, name, other) if of > place else MatrixCell() for of, other in enumerate(order) if of],
        )
        for place, name in enumerate(order)
    ]


def matrix_legend(table: Table) -> str:
    """Meaning of the matrix."""
    pairs = table.analysis.pairs if table.analysis else None
    text = "Row minus column, the highest mean first. A pointer over a cell shows its interval and p-values."
    if pairs is None or not pairs.family:
        return f"{text} There are no verdicts, because the spread over seeds is unknown."
    together = f", with all {pairs.family} pairs tested together (Holm)" if pairs.family > 1 else ""
    text += f" Dark: told apart{together}. Grey: not told apart; that does not show that two rows are equal."
    differences = len(table.p_holm(table.main_column))
    if differences and pairs.family > differences:
        text += f" The Difference column tests fewer together ({differences}), so it can decide more of them."
    if pairs.ranks:
        text += " Rank: the row would have one of these ranks in 95 % of repetitions with other seeds and images."
    return text


def _cell(table: Table, row: str, other: str) -> MatrixCell:
    pair = table.analysis.pairs.between(row, other) if table.analysis else None
    if pair is None:
        return MatrixCell("-", "not compared")
    labels = _labels(table, row, other)
    interval = with_interval(pair.interval.difference, pair.interval.low, pair.interval.high)
    if pair.p_holm is None:
        return MatrixCell(signed(pair.interval.difference), f"{labels}: {interval}, images only, no verdict")
    p_values = f"p {pair.interval.p_value:.2g}, with all pairs {pair.p_holm:.2g}"
    return MatrixCell(signed(pair.interval.difference), f"{labels}: {interval}, {p_values}", pair.decided)


def _labels(table: Table, *names: str) -> str:
    found: dict[str, Row] = {row.name: row for row in table.rows}
    return " minus ".join(found[name].label for name in names)


def _ranks(table: Table, name: str) -> str:
    low, high = (table.analysis.pairs.ranks.get(name) if table.analysis else None) or (0, 0)
    return "" if not low else str(low) if low == high else f"{low}-{high}"
