"""Tables: results in rows and cells beside the paper's numbers, independent of output formats."""

from ocnet_pl.table.finding import find_tables, read_tables
from ocnet_pl.table.layout import make_table
from ocnet_pl.table.structure import Cell, Notes, Row, Table

__all__ = ["Cell", "Notes", "Row", "Table", "find_tables", "make_table", "read_tables"]
