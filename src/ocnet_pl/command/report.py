"""`ocnet-report`: a sweep as a table, on the terminal and in files."""

import argparse
from pathlib import Path

from ocnet_pl.errors import one_line_errors


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="ocnet-report",
        description="Prints the table of a sweep and writes it beside the runs: table.md, table.csv, table.html.",
        epilog="example: ocnet-report outputs/demo",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="of a sweep, or of several (outputs)")
    arguments = parser.parse_args()
    with one_line_errors("ocnet-report"):
        report(arguments.directory)


def report(directory: Path) -> None:
    """Prints and writes every table below a directory."""
    from rich.console import Console

    from ocnet_pl.rendering.files import write_files
    from ocnet_pl.rendering.terminal import print_table
    from ocnet_pl.table import read_tables

    console = Console()
    for table in read_tables(directory):
        print_table(table, console)
        folder = next(result.directory.parents[1] for row in table.rows for result in row.results.values())
        for path in write_files(table, folder):
            console.print(f"wrote {path}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
