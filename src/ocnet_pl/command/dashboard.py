"""`ocnet-dashboard`: the workspace on wandb that compares the heads of a table."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocnet_pl.command.parsing import CommandParser, safe_output
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.escaping import printable

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

    from ocnet_pl.record.result import Result


def main() -> None:
    """Entry point."""
    safe_output()
    parser = CommandParser(
        prog="ocnet-dashboard",
        description="Makes a workspace on wandb for a table trained with logger=wandb, and prints its address: "
        "validation mIoU and training loss of every row as mean and standard deviation over its seeds, IoU by class as "
        "bars, samples side by side. The runs must be on the server: 'wandb sync DIR/*/*/wandb' uploads offline ones.",
        epilog="example: ocnet-dashboard outputs/table1 --entity my-team",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="of the sweep, with at least one finished run")
    parser.add_argument("--entity", help="user or team (default: that of the runs, or else yours)")
    parser.add_argument("--project", help="on wandb (default: that of the runs)")
    parser.add_argument("--json", action="store_true", help="print the specification, ask no server")
    arguments = parser.parse_args()
    with one_line_errors("ocnet-dashboard"):
        made = _workspace(arguments.directory, arguments.entity, arguments.project)
        if arguments.json:
            print(json.dumps(made._model.spec.model_dump(by_alias=True, exclude_none=True), indent=1))
        else:
            print(_save(made))


def _workspace(directory: Path, entity: str | None, project: str | None) -> "Workspace":
    from ocnet_pl.record.finding import find_results

    found = find_results(directory)
    results = found.results
    for line in (
        *found.unreadable.values(),
        *(f"{path}: not counted, a copy of {run}" for path, run in found.copies.items()),
    ):
        print(f"ocnet-dashboard: {printable(line)}", file=sys.stderr)
    tables = {result.table: result.directory.parents[1] for result in results}
    if not results:
        raise UserError(f"{directory}: no finished run below it; give the directory of a sweep, e.g. outputs/demo")
    if len(tables) > 1:
        raise UserError(f"{directory}: holds several tables; give one of {', '.join(map(str, tables.values()))}")
    try:
        from ocnet_pl.tools.wandb.workspace import workspace
    except ImportError:
        raise UserError("wandb-workspaces is not installed: pip install 'ocnet_pl[dashboard]'") from None
    logged = next((mirror for r in results if (mirror := _mirror(r))), None)
    if logged is None:
        raise UserError(f"{directory}: its runs were not trained with logger=wandb, so wandb has nothing to show")
    return workspace(results, entity=entity or logged.get("entity") or "", project=project or logged["project"])


def _mirror(result: "Result") -> dict[str, Any] | None:
    """Settings of the run's mirror on wandb; None where it had none."""
    loggers = result.config.get("logger")
    mirror = loggers.get("wandb") if isinstance(loggers, dict) else None
    return mirror if isinstance(mirror, dict) and mirror.get("project") else None


def _save(workspace: "Workspace") -> str:
    """Returns the address."""
    import wandb

    from ocnet_pl.tools.wandb.account import logged_in

    if not logged_in():
        raise UserError("wandb knows no API key: 'wandb login' first, or --json for the specification")
    try:
        workspace.entity = workspace.entity or wandb.Api().default_entity or ""
        return str(workspace.save().url)  # type: ignore[no-untyped-call]
    except Exception as error:  # in however many ways a server says no
        raise UserError(f"wandb: {error}; the specification is --json") from error


if __name__ == "__main__":
    main()
