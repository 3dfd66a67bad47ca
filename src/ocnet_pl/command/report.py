"""`ocnet-report`: the table of a sweep on the terminal and in files, the progress of its runs, test-server scores."""

import sys
from pathlib import Path

from ocnet_pl.command.parsing import CommandParser, console_script
from ocnet_pl.escaping import printable

DESCRIPTION = """\
Prints the table of a sweep next to the paper's published numbers, and writes it into the sweep's directory: table.md,
table.csv, table.tex (booktabs) and table.html (runs, classes, curves, images). docs/report.md explains every column.
Exit code 1: some files are damaged; the table lists them."""

EPILOG = """\
examples:
  ocnet-report outputs/demo                        the table
  ocnet-report outputs/demo --status               progress of every run, while the sweep is running
  ocnet-report outputs/demo --baseline ppm         differences to PPM instead of the baseline
  ocnet-report --score table2/ohem=78.9            record a test-server score for row ohem of outputs/table2
  ocnet-report outputs/table1 --publish experiments
                                                   writes experiments/table1.md and .svg, ready to commit"""


def main() -> None:
    """Entry point."""
    parser = CommandParser(prog="ocnet-report", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "directory",
        type=Path,
        nargs="?",
        default=Path("outputs"),
        metavar="DIR",
        help="directory of one or more sweeps (default: %(default)s)",
    )
    parser.add_argument(
        "--baseline",
        metavar="ROW",
        help="compare the other rows with this one (default: baseline, or the paper's)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--status", action="store_true", help="print state, progress, remaining time and errors of every planned run"
    )
    instead.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="TABLE/ROW=MIOU",
        help="record a test-server score in percent with today's date; repeat for several; "
        "TABLE/ROW/seed-N=MIOU if several seeds are finished",
    )
    instead.add_argument(
        "--publish",
        type=Path,
        metavar="FOLDER",
        help="also write each table to FOLDER, as <name>.md and <name>.svg; FOLDER is created if missing",
    )
    damaged = False
    with console_script("ocnet-report"):
        arguments = parser.parse_args()
        if arguments.status:
            status(arguments.directory)
        elif arguments.score:
            score(arguments.directory, arguments.score)
        else:
            damaged = report(arguments.directory, arguments.publish, arguments.baseline)
    if damaged:
        sys.exit(1)


def report(directory: Path, publish: Path | None = None, baseline: str | None = None) -> bool:
    """Write and print every table below a directory; return whether a file was damaged."""
    from rich.console import Console

    from ocnet_pl.report.files import published_files, table_files, write_all
    from ocnet_pl.report.terminal import plain, print_table
    from ocnet_pl.table import find_tables

    tables, others = find_tables(directory, baseline=baseline)
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
    """Print the progress of every run of every sweep in a directory."""
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
    """Record test-server scores, and rewrite the tables that show them."""
    from ocnet_pl.record.scores import enter_scores

    for path in enter_scores(directory, texts):
        print(f"saved to {printable(str(path))}")
        report(path.parent)


if __name__ == "__main__":
    main()
