"""`ocnet-report`: the table of a sweep on the terminal and in files, the progress of its runs, test-server scores."""

import argparse
import sys
from pathlib import Path

from ocnet_pl.command.parsing import CommandParser, console_script, whole_number
from ocnet_pl.escaping import printable

DESCRIPTION = """\
Prints the table of a sweep next to the paper's published numbers, and writes it into the sweep's directory: table.md,
table.csv, table.tex (booktabs) and table.html (runs, classes, curves, images). The last line is the verdict in one
sentence. docs/report.md explains every column.
Exit code 1: some files are damaged; the table lists them."""

EPILOG = """\
examples:
  ocnet-report outputs/demo                        the table
  ocnet-report outputs/demo --status               progress of every run, while the sweep is running
  ocnet-report outputs/demo --baseline ppm         differences to PPM instead of the baseline
  ocnet-report outputs/demo --plan --gap 0.8       how many seeds find a difference of 0.8
  ocnet-report table1 --plan                       the same from the paper's numbers, before any run exists
  ocnet-report --score table2/ohem=78.9            record a test-server score for row ohem of outputs/table2
  ocnet-report outputs/table1 --publish experiments
                                                   writes experiments/table1.md and .svg, ready to commit
  ocnet-report outputs/demo --card README.md --row asp_oc
                                                   model card of a row, for the Hugging Face Hub"""


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
    parser.add_argument(
        "--block",
        type=whole_number,
        default=1,
        metavar="N",
        help="for images of videos: leave N neighbouring images out together when intervals are computed",
    )
    parser.add_argument(
        "--columns",
        nargs="+",
        metavar="NAME",
        help="columns of table.tex after the first, by their headings (default: the seven most important)",
    )
    parser.add_argument("--gap", type=points, metavar="POINTS", help="with --plan: number of seeds for this difference")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--plan",
        action="store_true",
        help="print which difference 2 to 20 seeds can find; DIR may be a sweep or the name of a table in the paper",
    )
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
        help="also write each table to FOLDER, as <name>.md and <name>.svg; FOLDER is created if missing, "
        "and text above the comment line of an existing page stays",
    )
    instead.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="also write the model card of one row, for its checkpoint on the Hugging Face Hub; never replaces a file",
    )
    parser.add_argument("--row", metavar="ROW", help="with --card: the row (default: the only one)")
    damaged = False
    with console_script("ocnet-report"):
        arguments = parser.parse_args()
        if arguments.gap is not None and not arguments.plan:
            parser.error("--gap: plans only; give --plan, too")
        if arguments.row is not None and arguments.card is None:
            parser.error("--row: cards only; give --card, too")
        if arguments.plan:
            damaged = plan(arguments.directory, arguments.gap, arguments.baseline, arguments.block)
        elif arguments.status:
            status(arguments.directory)
        elif arguments.score:
            score(arguments.directory, arguments.score)
        else:
            options = {
                name: getattr(arguments, name) for name in ("publish", "baseline", "block", "columns", "card", "row")
            }
            damaged = report(arguments.directory, **options)
    if damaged:
        sys.exit(1)


def report(
    directory: Path,
    publish: Path | None = None,
    baseline: str | None = None,
    block: int = 1,
    columns: list[str] | None = None,
    card: Path | None = None,
    row: str | None = None,
) -> bool:
    """Write and print every table below a directory, their verdicts last; return whether a file was damaged."""
    from rich.console import Console

    from ocnet_pl.report.files import card_file, published_files, table_files, write_all
    from ocnet_pl.report.terminal import plain, print_table, print_verdicts
    from ocnet_pl.table import find_tables

    tables, others = find_tables(directory, baseline=baseline, block=block)
    contents = {path: text for table in tables for path, text in table_files(table, table.folder, columns).items()}
    if publish is not None:
        contents |= published_files(tables, publish)
    if card is not None:
        contents |= card_file(tables, card, row)
    write_all(contents)
    console = Console()
    for table in tables:
        print_table(table, console)
    for line in (*others.unreadable, *others.copies):
        console.print(plain(line), style="yellow", highlight=False, soft_wrap=True)
    for path in contents:
        console.print(plain(f"wrote {path}"), highlight=False, soft_wrap=True)
    print_verdicts(tables, console)
    return bool(others.unreadable) or any(table.notes.unreadable for table in tables)


def plan(directory: Path, gap: float | None, baseline: str | None, block: int) -> bool:
    """Print which differences a number of seeds can find, for every sweep in a directory or a published table.

    Return whether a file was damaged.
    """
    from rich.console import Console

    from ocnet_pl.report.planning import plan_lines
    from ocnet_pl.report.terminal import plain
    from ocnet_pl.table.planning import plans

    console = Console()
    found = plans(directory, baseline=baseline, block=block)
    for line in (line for of_table in found for line in plan_lines(of_table, gap)):
        console.print(plain(line), highlight=False, soft_wrap=True)
    return any(of_table.unreadable for of_table in found)


def points(text: str) -> float:
    """Type of an argument: a difference in points of mIoU, above 0 and up to 100."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"{text}: expected points of mIoU above 0, e.g. 0.8")
    return value


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
