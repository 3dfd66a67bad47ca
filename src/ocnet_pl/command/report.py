"""`ocnet-report`: a sweep as a table, on the terminal and in files; how far it is; what a test server said."""

import argparse
import sys
from pathlib import Path

from ocnet_pl.command.parsing import CommandParser, safe_output
from ocnet_pl.errors import one_line_errors
from ocnet_pl.escaping import printable

_DESCRIPTION = """\
Prints the table of a sweep, beside the paper's numbers where there are any, and writes it into the sweep's
directory: table.md, table.csv, table.tex (booktabs) and table.html (runs, classes, curves, pictures).
docs/report.md says what each column means. Exit code 1: files were damaged; the table names them."""

_EPILOG = """\
examples:
  ocnet-report outputs/demo                        the table
  ocnet-report outputs/demo --status               how far every run is, at any time
  ocnet-report --score table2/ohem=78.9            what the test server said of outputs/table2's row ohem
  ocnet-report outputs/table1 --publish experiments
                                                   experiments/table1.md and its picture, to commit"""


def main() -> None:
    """Entry point."""
    safe_output()
    parser = CommandParser(
        prog="ocnet-report",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "directory",
        type=Path,
        nargs="?",
        default=Path("outputs"),
        metavar="DIR",
        help="of a sweep, or of several (default: outputs)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--status",
        action="store_true",
        help="state, progress and time left of every planned run, and the errors of those that failed",
    )
    instead.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="TABLE/ROW=MIOU",
        help="keep what a test server said, in per cent, with today's date; may be given several times; "
        "TABLE/ROW/seed-N=MIOU where several seeds are finished",
    )
    instead.add_argument(
        "--publish",
        type=Path,
        metavar="FOLDER",
        help="write each table to FOLDER too, as <name>.md and <name>.svg; FOLDER is created if missing",
    )
    arguments = parser.parse_args()
    with one_line_errors("ocnet-report"):
        if arguments.status:
            status(arguments.directory)
        elif arguments.score:
            score(arguments.directory, arguments.score)
        else:
            unreadable = report(arguments.directory, arguments.publish)
            if unreadable:
                sys.exit(1)


def report(directory: Path, publish: Path | None = None) -> bool:
    """Write and print every table below a directory; return whether a file was damaged."""
    from rich.console import Console

    from ocnet_pl.report.files import published_files, table_files, write_all
    from ocnet_pl.report.terminal import plain, print_table
    from ocnet_pl.table import find_tables

    tables, others = find_tables(directory)
    contents = {path: text for table in tables for path, text in table_files(table, table.folder).items()}
    if publish is not None:
        contents |= published_files(tables, publish)
    write_all(contents)
    console = Console()
    for table in tables:
        print_table(table, console)
    for line in (*others.unreadable, *others.copies):
        console.print(plain(line), style="yellow", highlight=False, soft_wrap=True)
    for path in contents:
        console.print(plain(f"wrote {path}"), highlight=False, soft_wrap=True)
    return bool(others.unreadable) or any(table.notes.unreadable for table in tables)


def status(directory: Path) -> None:
    """Prints how far every run of every sweep in a directory is."""
    from rich.console import Console

    from ocnet_pl.record.finding import find_sweeps
    from ocnet_pl.record.status import sweep_status
    from ocnet_pl.report.status import print_status

    console = Console()
    for sweep in find_sweeps(directory):
        runs, remarks = sweep_status(sweep)
        print_status(str(sweep), runs, console)
        for remark in remarks:
            console.print(remark, style="yellow", highlight=False, markup=False, soft_wrap=True)


def score(directory: Path, texts: list[str]) -> None:
    """Keeps scores of a test server, and writes the tables anew that they are in."""
    from ocnet_pl.record.scores import enter_scores

    for path in enter_scores(directory, texts):
        print(f"kept in {printable(str(path))}")
        report(path.parent)


if __name__ == "__main__":
    main()
