"""Results -> rows and cells beside the paper's. No output format in here."""

from ocnet_pl.table.layout import find_tables, make_table, read_tables
from ocnet_pl.table.structure import Cell, Notes, Row, Table

__all__ = ["Cell", "Notes", "Row", "Table", "find_tables", "make_table", "read_tables"]
