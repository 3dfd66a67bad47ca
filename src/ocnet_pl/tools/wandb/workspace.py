"""The wandb workspace that compares the rows of a table."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    # wandb_workspaces uses a deprecated decorator of pydantic, and warns about it on import.
    warnings.filterwarnings("ignore", "Pydantic V1 style `@validator`", DeprecationWarning)
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2.interface import BarPlot, Config, LinePlot, MediaBrowser, PanelTypes

from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.record.finding import find_results
from ocnet_pl.record.result import Result
from ocnet_pl.tools.wandb.content import SAMPLES, STEP, TRAINING_CURVE, VALIDATION_CURVE, iou_key, miou_key

_ROW = "row"
_ALL_RUNS = 200
_BY_ROW: dict[str, Any] = {
    "groupby": Config(_ROW),
    "groupby_aggfunc": "mean",
    "groupby_rangefunc": "stddev",
    "max_runs_to_show": _ALL_RUNS,
}
"""Settings of every panel: each row as the mean over its seeds, with one standard deviation."""


def workspace_of(sweep: Path, entity: str | None, project: str | None) -> ws.Workspace:
    """Workspace of the table in a sweep's directory; entity and project are the runs' own by default.

    Raises:
        UserError: no finished run, several tables, or runs that were not logged to wandb.
    """
    found = find_results(sweep)
    results = found.results
    copies = [f"{path}: not counted, a copy of {run}" for path, run in found.copies.items()]
    for line in (*found.unreadable.values(), *copies):
        print(f"ocnet-dashboard: {printable(line)}", file=sys.stderr)
    if not results:
        raise UserError(f"{sweep}: contains no finished run; give the directory of a sweep, e.g. outputs/demo")
    tables = {result.table: str(result.directory.parents[1]) for result in results}
    if len(tables) > 1:
        raise UserError(f"{sweep}: contains several tables; give one of {', '.join(tables.values())}")
    settings = next((logged for result in results if (logged := _wandb_settings(result))), None)
    if settings is None:
        raise UserError(f"{sweep}: its runs are not on wandb; train them with logger=wandb")
    return workspace(results, entity=entity or settings.get("entity") or "", project=project or settings["project"])


def workspace(results: Sequence[Result], *, entity: str, project: str) -> ws.Workspace:
    """Workspace of one table; every panel shows a row as the mean over its seeds with one standard deviation."""
    keys = list(dict.fromkeys(key for result in results for key in result.evaluations))
    curves = [
        LinePlot(title=title, x=STEP, y=[metric], **_BY_ROW)
        for title, metric in (("Validation mIoU", VALIDATION_CURVE), ("Training loss", TRAINING_CURVE))
    ]
    classes = results[0].evaluations[keys[0]].iou
    return ws.Workspace(
        name=f"{results[0].table}: heads",
        entity=entity,
        project=project,
        auto_generate_panels=False,
        sections=[
            _section("Heads", curves),
            _section("Final mIoU", [_bars(key, miou_key(key)) for key in keys]),
            _section(f"IoU of each class, {keys[0]}", [_bars(name, iou_key(keys[0], name)) for name in classes]),
            _section("Samples", [MediaBrowser(title="Samples", media_keys=[SAMPLES], grid_x_axis="run")], columns=1),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=_ALL_RUNS),
        runset_settings=ws.RunsetSettings(
            # A string: in an expression, the config's `name` would mean wandb's own name of the run's id.
            filters=f"Config('name') = {results[0].table!r}",
            groupby=[expr.Config(_ROW)],
            pinned_columns=[f"summary:{miou_key(key)}" for key in keys],
        ),
    )


def specification(workspace: ws.Workspace) -> dict[str, Any]:
    """Plain content of a workspace, for JSON."""
    content: dict[str, Any] = workspace._model.spec.model_dump(
        by_alias=True, exclude_none=True
    )  # private: no other way
    return content


def save(workspace: ws.Workspace) -> str:
    """Create the workspace on the server, and return its address.

    Raises:
        UserError: no API key, or the server rejects the workspace.
    """
    import wandb

    from ocnet_pl.tools.wandb import logged_in

    if not logged_in():
        raise UserError("wandb: no API key found; run 'wandb login', or print the specification with --json")
    try:
        workspace.entity = workspace.entity or wandb.Api().default_entity or ""
        return str(workspace.save().url)  # type: ignore[no-untyped-call]
    except Exception as error:  # the client raises many kinds of errors
        raise UserError(f"wandb: {error}; --json prints the specification without a server") from error


def _wandb_settings(result: Result) -> dict[str, Any] | None:
    """Settings of the run's wandb logger; None for a run without it."""
    loggers = result.config.get("logger")
    settings = loggers.get("wandb") if isinstance(loggers, dict) else None
    return settings if isinstance(settings, dict) and settings.get("project") else None


def _section(name: str, panels: Sequence[PanelTypes], columns: int = 2) -> ws.Section:
    layout = ws.SectionLayoutSettings(columns=columns, rows=min(4, -(-len(panels) // columns)))
    return ws.Section(name=name, panels=list(panels), is_open=True, layout_settings=layout)


def _bars(title: str, metric: str) -> BarPlot:
    return BarPlot(title=title, metrics=[metric], **_BY_ROW)
