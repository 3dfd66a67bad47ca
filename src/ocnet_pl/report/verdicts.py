"""Verdicts in words: which differences are more than chance, and how that was found."""

from collections.abc import Iterator, Sequence

from ocnet_pl.drawing.numbers import signed
from ocnet_pl.statistics import Interval, Method
from ocnet_pl.table import Row, Table

METHODS: dict[Method, str] = {"borrowed": "borrow 2", "paired": "same weights", "images": "images only"}
"""Names of the methods of an interval."""


def verdict_notes(table: Table, row: Row, interval: Interval) -> Iterator[str]:
    """Notes on a row's difference to the baseline: its verdict, if it is none, and what limits it."""
    if not interval.decides:
        yield "images only, no verdict"
    elif not table.significant(table.main_column)[row.name]:
        yield "not significant after correction" if interval.excludes_zero else "not significant"
    if interval.method == "paired":
        yield "same weights"
    elif interval.decides and interval.seeds[0] == 1:
        yield "one seed"
    if interval.unlike[0]:
        yield "varies more"
    if row.label in table.unlike_rows:
        yield "its seeds are not alike"


def main_score(table: Table) -> str:
    """Name of the score that ranks: `Val mIoU`."""
    return table.columns[table.main_column].label.removesuffix(" (%)")


def verdict(table: Table) -> str:
    """Result of all comparisons with the baseline, in one sentence; empty without any."""
    baseline = next((row for row in table.rows if row.name == table.baseline), None)
    compared = [(row.label, row.name, cell) for row in table.rows if (cell := row.cells[table.main_column].interval)]
    if baseline is None or not compared:
        return ""
    compared.sort(key=lambda of: -of[2].difference)
    significant = table.significant(table.main_column)
    if not significant:
        names = _listed([label for label, _, _ in compared])
        return f"No verdict on {names}: the spread over seeds is unknown, because no row has two seeds."
    decided = [(f"{label} ({signed(of.difference)})", of) for label, name, of in compared if significant.get(name)]
    better = [words for words, of in decided if of.difference > 0]
    worse = [words for words, of in decided if of.difference < 0]
    others = [label for label, name, _ in compared if not significant.get(name)]
    parts = [(better, "better than"), (worse, "worse than"), (others, "not told apart from")]
    said = [f"{_listed(names)} {'is' if len(names) == 1 else 'are'} {what}" for names, what in parts if names]
    together = f", {len(significant)} comparisons tested together" if len(significant) > 1 else ""
    return f"{'; '.join(f'{words} {baseline.label}' for words in said)} ({main_score(table)} in points{together})."


def best_rows(table: Table) -> list[str]:
    """Names of the rows that are set in bold: the highest, and those not told apart from it; empty if unknown."""
    return table.analysis.pairs.best if table.analysis else []


def on_bold(table: Table) -> str:
    """Meaning of bold rows; empty without any."""
    best = best_rows(table)
    also = ", and those not told apart from it" if best[1:] else ""
    return f"Bold: the highest {main_score(table)}{also}." if best else ""


def findings(table: Table) -> list[str]:
    """Result of testing all pairs of rows together, in one sentence; empty without any verdict."""
    if table.analysis is None or not best_rows(table):
        return []
    pairs, labels = table.analysis.pairs, {row.name: row.label for row in table.rows}
    first, *ties = (labels[name] for name in best_rows(table))
    together = f"all {pairs.family} pairs tested together" if pairs.family > 1 else "one pair"
    if ties:
        return [f"Not told apart from {first}, the highest: {', '.join(ties)} ({together})."]
    return [f"{first} is the highest, and told apart from every row that it is compared with ({together})."]


def on_differences(table: Table) -> Iterator[str]:
    """Sentences of the legend on the Difference column."""
    baseline = next((row for row in table.rows if row.name == table.baseline), None)
    if baseline is None:
        return
    intervals = [cell.interval for row in table.rows if (cell := row.cells[table.main_column]).interval]
    yield f"Difference: {main_score(table)} minus that of {baseline.label}{_over(intervals)}."
    if table.block > 1 and intervals:
        yield f"Images are left out in blocks of {table.block} neighbours."
    if any(interval.method == "paired" for interval in intervals):
        yield '"Same weights": both rows test the same networks, so their runs are compared in pairs.'
    if not all(interval.decides for interval in intervals):
        yield '"Images only": the spread over seeds is unknown, so the interval lacks it and nothing is decided.'
    borrowed = [interval for interval in intervals if interval.method == "borrowed"]
    if any(interval.seeds[0] == 1 for interval in borrowed):
        yield '"One seed": how much the row varies over seeds is taken from the other rows.'
    if any(interval.seeds[1] == 1 for interval in borrowed):
        yield f"{baseline.label} has one seed: how much it varies over seeds is taken from the other rows."
    if any(interval.unlike[0] for interval in borrowed):
        yield '"Varies more": the row varies so much more over seeds than the others that only its own seeds are used.'
    if any(interval.unlike[1] for interval in borrowed):
        yield f"{baseline.label} varies so much more over seeds than the other rows that only its own seeds are used."
    family = len(table.p_holm(table.main_column))
    if family > 1:
        yield (
            '"Not significant after correction": significant alone, but not after Holm\'s correction for the '
            f"{family} comparisons."
        )


def on_runs(table: Table) -> Iterator[str]:
    """Warnings on what the comparisons rest on."""
    for row in table.rows:
        for seed, earlier in row.same_weights.items():
            yield f"{row.label}: seed {seed} has exactly the weights of seed {earlier}; it counts once."
    for name, runs in table.analysis.invented if table.analysis else ():
        yield f"Class {name} is in no label of the tested images, but {', '.join(runs)} predicted it: IoU 0 there."
    if words := "; ".join(_seed_counts(table)):
        yield (
            f"{words}. Verdicts hold for a number of seeds that was fixed beforehand: where seeds are added until a "
            "difference is significant, 1 in 6 tables without any true difference shows one."
        )


def _seed_counts(table: Table) -> Iterator[str]:
    labels = {row.name: row.label for row in table.rows if row.cells[table.main_column].ours.n}
    if table.analysis is None or not table.analysis.pairs.pairs:
        return
    for of_row in table.seed_counts:
        if of_row.row in labels and of_row.added:
            count = f"{of_row.done} seeds, {of_row.planned} planned before verdicts could be seen"
            yield f"{labels[of_row.row]} has {count}"
        elif of_row.row in labels:
            yield f"{labels[of_row.row]} has {of_row.done} of {of_row.planned} planned seeds"


def _over(intervals: list[Interval]) -> str:
    if not intervals:
        return ""
    over = "seeds and images" if any(interval.decides for interval in intervals) else "images"
    return f", with its 95 % interval over {over}"


def _listed(names: Sequence[str]) -> str:
    """`A`, `A and B`, or `A, B and C`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
