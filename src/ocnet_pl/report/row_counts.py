"""Counts of a row's runs in the main column."""

from functools import partial

from ocnet_pl.record.image_counts import SavedCounts, read_counts
from ocnet_pl.table import Row, Table
from ocnet_pl.table.columns import EvaluationColumn


def row_counts(table: Table, row: Row) -> list[SavedCounts] | None:
    """Counts of all runs that count, by seed; None without runs, and if one is unknown or of other images."""
    column = table.columns[table.main_column]
    if not isinstance(column, EvaluationColumn):
        return None
    found = [table.notes.readable(partial(read_counts, run, column.key(run)), None) for run in row.counted]
    kept = [counts for counts in found if counts is not None]
    if not kept or len(kept) < len(found) or not all(counts.is_of_the_same_images(kept[0]) for counts in kept):
        return None
    return kept
