"""The wandb workspace that compares the rows of one table."""

import warnings
from collections.abc import Sequence
from typing import Any

with warnings.catch_warnings():
    # Its own code still does, and warns of it on import.
    warnings.filterwarnings("ignore", "Pydantic V1 style `@validator`", DeprecationWarning)
    import wandb_workspaces.workspaces as ws
    from wandb_workspaces import expr
    from wandb_workspaces.reports.v2.interface import BarPlot, Config, LinePlot, MediaBrowser, PanelTypes

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
"""Of every panel: a row is the mean over its seeds, with one standard deviation."""


def workspace(results: Sequence[Result], *, entity: str, project: str) -> ws.Workspace:
    """Every panel shows a row as the mean over its seeds, curves and bars with one standard deviation.

    Args:
        results: of one table, at least one.
        entity: user or team on wandb.
        project: that the runs were logged to.
    """
    keys = list(dict.fromkeys(key for result in results for key in result.evaluations))
    main = results[0].evaluations[keys[0]]
    return ws.Workspace(
        name=f"{results[0].table}: heads",
        entity=entity,
        project=project,
        auto_generate_panels=False,
        sections=[
            _section("Heads", [_curve("Validation mIoU", VALIDATION_CURVE), _curve("Training loss", TRAINING_CURVE)]),
            _section("mIoU at the end", [_bars(key, miou_key(key)) for key in keys]),
            _section(f"IoU by class, {keys[0]}", [_bars(name, iou_key(keys[0], name)) for name in main.iou]),
            _section("Samples", [MediaBrowser(title="Samples", media_keys=[SAMPLES], grid_x_axis="run")], columns=1),
        ],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=_ALL_RUNS),
        runset_settings=ws.RunsetSettings(
            # In words: as an expression, the config's `name` is taken for wandb's own name of the run's id.
            filters=f"Config('name') = {results[0].table!r}",
            groupby=[expr.Config(_ROW)],
            pinned_columns=[f"summary:{miou_key(key)}" for key in keys],
        ),
    )


def _section(name: str, panels: list[PanelTypes], columns: int = 2) -> ws.Section:
    layout = ws.SectionLayoutSettings(columns=columns, rows=min(4, -(-len(panels) // columns)))
    return ws.Section(name=name, panels=panels, is_open=True, layout_settings=layout)


def _curve(title: str, metric: str) -> LinePlot:
    return LinePlot(
        title=title,
        x=STEP,
        y=[metric],
        **_BY_ROW,
    )


def _bars(title: str, metric: str) -> BarPlot:
    return BarPlot(
        title=title,
        metrics=[metric],
        **_BY_ROW,
    )
