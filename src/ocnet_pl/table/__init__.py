"""Results -> rows and cells beside the paper's. No output format in here."""

from ocnet_pl.table.layout import make_table, read_tables
from ocnet_pl.table.structure import LABELS, Cell, Row, Table

__all__ = ["LABELS", "Cell", "Row", "Table", "make_table", "read_tables"]
