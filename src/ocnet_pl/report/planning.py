"""A plan on the terminal: which difference a number of seeds can find."""

from collections.abc import Iterator

from ocnet_pl.statistics import Design
from ocnet_pl.table.planning import Plan

SEEDS = (2, 3, 5, 8, 10, 20)
"""Numbers of seeds that a plan shows."""


def plan_lines(plan: Plan, gap: float | None = None) -> Iterator[str]:
    """Lines of a plan.

    Args:
        plan: the plan.
        gap: difference in points for which the number of seeds is wanted; None for no answer.
    """
    first = plan.designs[0]
    low, high = (end.sd for end in first.ends())
    yield f"{plan.name}: planned from {plan.source}"
    yield f"Spread of a row over seeds: {first.sd:.2f} (95 % interval {low:.2f} to {high:.2f})."
    errors = " or ".join(f"{design.image_error:.2f}" for design in plan.designs)
    unknown = " (assumed: the paper does not give it; the first runs will)" if len(plan.designs) > 1 else ""
    yield f"Standard error of a difference from the images alone: {errors}{unknown}."
    comparisons = "1 comparison" if first.comparisons == 1 else f"{first.comparisons} comparisons together"
    yield f"Smallest difference in mIoU found with 80 %, {comparisons}, and both ends of what is uncertain:"
    headings = [f"images {design.image_error:.2f}" for design in plan.designs]
    yield _columns("seeds", headings if len(headings) > 1 else ["points"])
    for seeds in SEEDS:
        yield _columns(str(seeds), [_range(design, seeds) for design in plan.designs])
    for design in plan.designs:
        if design.floor:
            where = f" (images {design.image_error:.2f})" if len(plan.designs) > 1 else ""
            yield f"More seeds cannot show less than {design.floor:.2f}{where}: for that, more images."
    if gap is not None:
        for design in plan.designs:
            where = f", images {design.image_error:.2f}" if len(plan.designs) > 1 else ""
            yield f"A difference of {gap:g}{where}: {_seeds(design, gap)}."
    yield from (f"Unreadable, and left out: {why}." for why in plan.unreadable)


def _range(design: Design, seeds: int) -> str:
    low, high = (end.smallest_gap(seeds) for end in design.ends())
    return f"{design.smallest_gap(seeds):.2f} ({low:.2f} to {high:.2f})"


def _seeds(design: Design, gap: float) -> str:
    """`8 seeds (5 to 20)`, or that no number is enough."""
    needed, low, high = (of.seeds_for(gap) for of in (design, *design.ends()))
    if needed is None and low is None:
        return "no number of seeds is enough; test on more images"
    least, most = (low or needed), ("more than 1000" if high is None else str(high))
    return f"{'more than 1000' if needed is None else needed} seeds ({least} to {most})"


def _columns(first: str, others: list[str]) -> str:
    return "  ".join([f"{first:>5}", *(f"{text:>24}" for text in others)])
