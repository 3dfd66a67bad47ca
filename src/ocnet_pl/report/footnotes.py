"""Notes below a table: meaning of its numbers, deviations from the paper, warnings, and origin of the runs."""

import shlex
from collections.abc import Iterator

from ocnet_pl.drawing.numbers import duration
from ocnet_pl.record.costs import PROFILE, cost_file
from ocnet_pl.report.cells import OWN_RECIPE
from ocnet_pl.report.deviations import in_words
from ocnet_pl.report.verdicts import on_differences, on_runs
from ocnet_pl.table import Row, Table
from ocnet_pl.table.columns import BestValidationColumn, EvaluationColumn, ServerColumn, TableColumn, best_validation

_ABSENT_RULES = {
    "skip": "are left out (as in the Cityscapes script)",
    "zero": "count as 0 (as in the ADE20K script)",
}


def legend(table: Table) -> str:
    """Meaning of the numbers, as one paragraph."""
    return " ".join(_sentences(table))


def remarks(table: Table) -> list[str]:
    """Deviations and warnings, one per line."""
    lines = []
    if table.imitates and table.deviations:
        words = "; ".join(in_words(deviation, table.protocol_of) for deviation in table.deviations)
        lines.append(f"Deviations from {table.protocol_of} ({table.imitates}): {words}.")
    elif table.imitates:
        lines.append(
            f"No deviations from the protocol of {table.protocol_of} (experiments/paper.yaml); docs/choices.md has "
            "what it leaves open."
        )
    lines += [f"Seeds averaged in one row differ: {words}." for words in table.unlike]
    lines += [
        f"Ended early by a callback: {run.name}, after {run.steps} of {run.planned_steps} steps."
        for run in table.results
        if run.steps < run.planned_steps
    ]
    lines += on_runs(table)
    lines += [f"Rehearsal, not in the table: {run.name} ({'; '.join(run.rehearsal)})." for run in table.rehearsals]
    for row in table.rows:
        cell = row.cells[table.main_column]
        if cell.unknown:
            lacks = "has no interval for its difference" if cell.difference is not None else "is not compared"
            lines.append(f"{row.label} {lacks}: {cell.unknown}.")
        if cell.seen[0] and not cell.trained_on:
            seen, of = cell.seen
            lines.append(f"{row.label} was trained on {seen} of the {of} images that it is tested on.")
    lines += [f"Unreadable: {why}." for why in table.notes.unreadable]
    lines += [f"{path}." for path in table.notes.copies]
    return lines + ([_other_networks(table, other)] if (other := table.profiled_otherwise) else [])


def made_with(table: Table) -> str:
    """Code, machine, dates and training time of the finished runs."""
    results = table.results
    if not results:
        return "No complete run yet."
    commits = sorted({_short(result.commit) for result in results})
    torch = sorted({f"torch {result.packages['torch']}" for result in results if "torch" in result.packages})
    devices = sorted({result.device for result in results})
    days = sorted({result.finished[:10] for result in results} - {""})
    when = f", finished {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    runs = "1 run" if len(results) == 1 else f"{len(results)} runs"
    code = ", ".join(["ocnet_pl " + " and ".join(commits), *torch])
    took = duration(sum(result.seconds for result in results))
    return f"{runs} of {code} on {' and '.join(devices)}{when}; {took} of training in all."


def _sentences(table: Table) -> Iterator[str]:
    yield "Mean ± sample standard deviation over seeds."
    yield from on_differences(table)
    for column in table.columns:
        if isinstance(column, BestValidationColumn) and table.results:
            yield _best(table, column)
        if isinstance(column, EvaluationColumn) and column.checkpoint == "best" and column.metric == "miou":
            yield _chosen(column)
        if isinstance(column, ServerColumn):
            yield _server(table)
    if any(cell.trained_on and cell.ours.n for row in table.rows for cell in row.cells):
        yield '"Trained on it": the network was trained on these images, so the number is not a test.'
    yield from _absent_rule(table)
    if len({result.protocol for result in table.results}) > 1:
        protocols = {row.label: {result.protocol for result in row.results.values()} for row in table.rows}
        words = "; ".join(f"{label} {' and '.join(sorted(of))}" for label, of in protocols.items() if of)
        yield f"Test protocols by row: {words}."
    if any(row.own_recipe for row in table.rows):
        yield (
            f'"{OWN_RECIPE}": number of the authors, in brackets its conditions. Recipe, data, protocol and often '
            "backbone are others, so it must not be compared with ours."
        )
    if any(row.context for row in table.rows):
        yield (
            "Attention on own class: share of a pixel's attention that falls on its own class, mean over classes "
            "(in brackets: uniform attention)."
        )
    if table.profiled:
        yield f"Cost of the heads: {table.profiled}."


def _absent_rule(table: Table) -> Iterator[str]:
    """Rule for classes that occur neither in truth nor prediction, if the main column has such classes."""
    column = table.columns[table.main_column]
    evaluations = [evaluation for run in table.results if (evaluation := column.evaluation_of(run))]
    rules = {evaluation.absent_classes for evaluation in evaluations if None in evaluation.iou.values()}
    if rules:
        rule = _ABSENT_RULES[rules.pop()] if len(rules) == 1 else "count as 0 in some rows only"
        yield f"mIoU: classes that occur neither in truth nor prediction {rule}."


def _other_networks(table: Table, row: Row) -> str:
    """Reason why no costs are shown, and the command that measures those of this table."""
    run = next(iter(row.results.values()))
    profiled = row.cost.parameters if row.cost else 0
    path = cost_file(table.folder) or table.folder / PROFILE
    command = ["ocnet-profile", *(text for text in run.overrides if text.startswith(("experiment=", "model.")))]
    if backbone := run.choices.get("model/backbone"):
        command += ["--backbone", backbone]
    classes = max((len(evaluation.iou) for evaluation in run.evaluations.values()), default=0)
    command += ["--classes", str(classes)] * bool(classes) + ["--csv", str(table.folder / PROFILE)]
    return (
        f"Costs not shown: {path} is of other networks ({row.label}: {profiled} weights there, "
        f"{run.parameters['total']} here). To measure these networks: {shlex.join(command)}"
    )


def _best(table: Table, column: BestValidationColumn) -> str:
    steps = [best[0] for result in table.results if (best := best_validation(result))]
    when = f"step {min(steps)}" if min(steps) == max(steps) else f"steps {min(steps)} to {max(steps)}"
    tries = sorted({len(result.curves.get("val/miou", [])) for result in table.results} - {0})
    of = f"{tries[0]} validations" if len(tries) == 1 else f"{tries[0]} to {tries[-1]} validations"
    return (
        f'"{_name(column)}": the highest of {of} of each training, at {when}. It is '
        "chosen on the validation images themselves and for comparison only; other scores are of the last checkpoint."
    )


def _chosen(column: TableColumn) -> str:
    return (
        f'"{_name(column)}": the checkpoint was chosen by its score on the validation images, so the score on them is '
        "too high, most for trainings whose scores change most."
    )


def _name(column: TableColumn) -> str:
    return column.label.removesuffix(" (%)")


def _server(table: Table) -> str:
    dates = {row.label: [s.entered[:10] for s in table.scores if s.row == row.name] for row in table.rows}
    entered = "; ".join(f"{label} {', '.join(of)}" for label, of in dates.items() if of)
    text = f"Test (server): entered by hand ({entered})." if entered else "Test (server): no score entered."
    if any(row.cells[-1].stand_in for row in table.rows):
        text += ' "val": our score on the validation images, for rows without a server score.'
    return text


def _short(commit: str | None) -> str:
    if commit is None:
        return "(commit unknown)"
    name, *changes = commit.split("+")
    return "+".join([name[:7], *changes])
