"""`ocnet-dashboard`: a wandb workspace that compares the heads of a table."""

import json
from pathlib import Path

from ocnet_pl.command.parsing import CommandParser, console_script
from ocnet_pl.errors import UserError

DESCRIPTION = """\
Creates a wandb workspace for a table that was trained with logger=wandb, and prints its address. It shows validation
mIoU and training loss of every row (mean and standard deviation over its seeds), IoU of each class as bars, and the
samples of all runs side by side. The runs must be on the server: 'wandb sync DIR/*/*/wandb' uploads offline runs."""


def main() -> None:
    """Entry point."""
    parser = CommandParser(
        prog="ocnet-dashboard",
        description=DESCRIPTION,
        epilog="example: ocnet-dashboard outputs/table1 --entity my-team",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="directory of a sweep with finished runs")
    parser.add_argument("--entity", help="user or team (default: the runs' entity, else yours)")
    parser.add_argument("--project", help="project on wandb (default: the runs' project)")
    parser.add_argument(
        "--json", action="store_true", help="print the JSON specification without contacting the server"
    )
    with console_script("ocnet-dashboard"):
        arguments = parser.parse_args()
        try:
            from ocnet_pl.tools.wandb.workspace import save, specification, workspace_of
        except ImportError:
            raise UserError("wandb-workspaces is not installed: pip install 'ocnet_pl[dashboard]'") from None
        workspace = workspace_of(arguments.directory, arguments.entity, arguments.project)
        print(json.dumps(specification(workspace), indent=1) if arguments.json else save(workspace))


if __name__ == "__main__":
    main()
