"""What stands below a table: what its numbers are, what is not as in the paper, and what they were made with."""

import shlex
from collections.abc import Iterator

from ocnet_pl.record.costs import FILE_NAME, cost_file
from ocnet_pl.report.deviations import in_words
from ocnet_pl.statistics import Interval
from ocnet_pl.table import Row, Table
from ocnet_pl.table.columns import OWN, BestInTraining, OnServer, best_validation


def legend(table: Table) -> str:
    """What the numbers are."""
    return " ".join(_sentences(table))


def remarks(table: Table) -> list[str]:
    """What a reader must not overlook, a line each."""
    lines = []
    if table.imitates and table.deviations:
        lines.append(f"Not the paper's {table.imitates}: {'; '.join(map(in_words, table.deviations))}.")
    elif table.imitates:
        lines.append(
            "The paper's protocol in all that it says (experiments/paper.yaml); docs/choices.md has what it leaves out."
        )
    lines += [f"Averaged, but not alike: {words}." for words in table.unlike]
    for run in table.rehearsals:
        lines.append(f"Rehearsal, not in the table: {run.row}/seed-{run.seed} ({'; '.join(run.rehearsal)}).")
    for ours in table.rows:
        cell = ours.cells[table.main_column]
        if cell.unknown and cell.difference:
            lines.append(f"{ours.label} has no interval beside its difference: {cell.unknown}.")
        elif cell.unknown:
            lines.append(f"{ours.label} is not compared: {cell.unknown}.")
        if cell.seen[0] and not cell.trained_on:
            seen, of = cell.seen
            lines.append(f"{ours.label} was trained on {seen} of the {of} images that it is tested on.")
    lines += [f"Unreadable: {why}." for why in table.notes.unreadable]
    lines += [f"{path}." for path in table.notes.copies]
    return lines + ([_other_networks(table, row)] if (row := table.profiled_otherwise) else [])


def made_with(table: Table) -> str:
    """Code, machine and dates of the finished runs."""
    results = table.results
    commits = sorted({_short(result.commit) for result in results})
    torch = sorted({f"torch {result.packages['torch']}" for result in results if "torch" in result.packages})
    devices = sorted({result.device for result in results})
    days = sorted({result.finished[:10] for result in results} - {""})
    when = f", finished {days[0]}" + (f" to {days[-1]}" if len(days) > 1 else "") if days else ""
    if not results:
        return "No whole run yet."
    runs = "1 run" if len(results) == 1 else f"{len(results)} runs"
    return f"{runs} of {', '.join(['ocnet_pl ' + ' and '.join(commits), *torch])} on {' and '.join(devices)}{when}."


def _sentences(table: Table) -> Iterator[str]:
    yield "Mean ± sample standard deviation over seeds."
    main = table.columns[table.main_column].label.removesuffix(" (%)")
    if table.baseline:
        label = next(row.label for row in table.rows if row.name == table.baseline)
        yield f"Difference: {main} minus that of {label}, paired by seed{_interval(table)}."
    if any(interval.seeds == 1 for interval in _intervals(table)):
        yield '"One seed": that interval is over images only, and tells nothing of other seeds.'
    if (comparisons := len(table.comparisons)) > 1:
        yield (
            f'The {comparisons} differences are tested together: "not significant among {comparisons}" would be '
            "significant alone, but is not after Holm's correction."
        )
    for column in table.columns:
        if isinstance(column, BestInTraining) and table.results:
            yield _best(table, column)
        if isinstance(column, OnServer):
            yield _server(table)
    if any(cell.trained_on and cell.ours.n for row in table.rows for cell in row.cells):
        yield '"Trained on it": these images were among those trained on, so the number is no test.'
    yield from _absent_rule(table)
    if any(OWN in column.evaluation.split("/") for column in table.columns):
        protocols = {row.label: {result.protocol for result in row.results.values()} for row in table.rows}
        words = "; ".join(f"{label} {' and '.join(sorted(of))}" for label, of in protocols.items() if of)
        yield f"Rows are tested under protocols of their own: {words}."
    if any(row.context for row in table.rows):
        yield (
            "Context on own class: share of a pixel's attention that falls on its own class, mean over the classes "
            "(in brackets, what equal weights would give)."
        )
    if table.profiled:
        yield f"Cost of the heads: {table.profiled}."


def _absent_rule(table: Table) -> Iterator[str]:
    """How classes count that occur neither in truth nor prediction, where the main column has such."""
    cells = [
        evaluation
        for result in table.results
        if (evaluation := table.columns[table.main_column].evaluation_of(result)) and None in evaluation.iou.values()
    ]
    rules = {evaluation.absent_classes for evaluation in cells}
    if rules == {"skip"}:
        yield "mIoU: classes that occur neither in truth nor prediction are left out (as the Cityscapes script does)."
    elif rules == {"zero"}:
        yield "mIoU: classes that occur neither in truth nor prediction count as 0 (as the ADE20K script does)."
    elif rules:
        yield "mIoU: classes that occur neither in truth nor prediction count as 0 in some rows only."


def _interval(table: Table) -> str:
    seeds = [interval.seeds for interval in _intervals(table)]
    if not seeds:
        return ""
    return f", with its 95 % interval over {'seeds and images' if max(seeds) > 1 else 'images'}"


def _intervals(table: Table) -> list[Interval]:
    cells = (row.cells[table.main_column] for row in table.rows)
    return [cell.interval for cell in cells if cell.interval]


def _other_networks(table: Table, row: Row) -> str:
    """Why there are no costs, and the command that measures those of this table."""
    run = next(iter(row.results.values()))
    profiled = row.cost.parameters if row.cost else 0
    path = cost_file(table.folder) or table.folder / FILE_NAME
    chosen = [text for text in run.overrides if text.startswith(("experiment=", "model."))]
    command = ["ocnet-profile", *chosen]
    if backbone := run.choices.get("model/backbone"):
        command += ["--backbone", backbone]
    classes = max((len(evaluation.iou) for evaluation in run.evaluations.values()), default=0)
    command += ["--classes", str(classes)] * bool(classes) + ["--csv", str(table.folder / FILE_NAME)]
    return (
        f"No costs: {path} is of other networks ({row.label}: {profiled} weights there, {run.parameters['total']} "
        f"here). To measure those of this table: {shlex.join(command)}"
    )


def _best(table: Table, column: BestInTraining) -> str:
    steps = [best[0] for result in table.results if (best := best_validation(result))]
    when = f"step {min(steps)}" if min(steps) == max(steps) else f"steps {min(steps)} to {max(steps)}"
    return (
        f'"{column.label.removesuffix(" mIoU (%)")}" is the highest validation of each training, at {when}: chosen on '
        "the validation images themselves, for comparison only; every other number is of the last checkpoint."
    )


def _server(table: Table) -> str:
    dates = {row.label: [s.entered[:10] for s in table.scores if s.row == row.name] for row in table.rows}
    entered = "; ".join(f"{label} {', '.join(of)}" for label, of in dates.items() if of)
    text = f"Test (server): entered by hand ({entered})." if entered else "Test (server): none entered."
    if any(row.cells[-1].stand_in for row in table.rows):
        text += ' "val" there is our score on the validation images, for rows that no server has scored.'
    return text


def _short(commit: str | None) -> str:
    if commit is None:
        return "(commit unknown)"
    name, *changes = commit.split("+")
    return "+".join([name[:7], *changes])
