"""The costs of heads as a table on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from ocnet_pl.drawing.numbers import short
from ocnet_pl.record.costs import EXPLICIT, MAPLESS, Cost
from ocnet_pl.report.terminal import plain
from ocnet_pl.tools.cost.profiling import ProfileSettings


def print_costs(costs: Sequence[Cost], settings: ProfileSettings, console: Console) -> None:
    """Print one line for each head; if both forms of attention were measured, also their ratio."""
    grid = RichTable(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    both = any(cost.attention == EXPLICIT for cost in costs)
    headings = ["Head", *(["Attention"] if both else []), "Params (M)", "GMACs"]
    headings += ["Forward (ms)", "Train step (ms)", "Forward (MB)", "Train step (MB)"]
    for i, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if i > both else "left", no_wrap=i <= both)
    mapless = {cost.head: cost for cost in costs if cost.attention == MAPLESS}
    for cost in costs:
        name = [cost.label or cost.head, *([cost.attention or "none"] if both else [])]
        sizes = [short(cost.parameters / 1e6), short(cost.multiply_adds / 1e9)]
        grid.add_row(*map(plain, name), *sizes, *map(short, _measured(cost)))
        if cost.attention == EXPLICIT and cost.head in mapless:
            ratios = map(_ratio, _measured(mapless[cost.head]), _measured(cost))
            grid.add_row("", "ratio", "", "", *ratios, style="bold", end_section=True)
    console.print(grid)
    for line in dict.fromkeys(cost.conditions for cost in costs):
        console.print(plain(line), highlight=False, soft_wrap=True)
    for note in _notes(settings):
        console.print(note, style="dim", highlight=False, soft_wrap=True)


def _measured(cost: Cost) -> list[float | None]:
    return [cost.forward_ms, cost.train_step_ms, cost.forward_mb, cost.train_step_mb]


def _ratio(mapless: float | None, explicit: float | None) -> str:
    return f"{mapless / explicit:.2f}" if mapless is not None and explicit else "-"


def _notes(settings: ProfileSettings) -> list[str]:
    """Definitions of the columns."""
    on_gpu = settings.device.type == "cuda"
    notes = [
        "GMACs: multiply-adds of convolutions and matrix products in one forward pass, with textbook attention.",
        "Memory: peak allocated on the GPU, including weights, and momentum in training."
        if on_gpu
        else "Memory: peak beyond the memory of the process before; excludes weights, momentum and the batch.",
    ]
    if settings.explicit_attention:
        notes.append("Attention: mapless (used by the networks); explicit (textbook, stores the N x N map).")
    notes.append(
        "Parameters and training step include the auxiliary classifier, if the head has one; the forward pass does not."
    )
    if settings.batch == 1:
        notes.append(
            "Batch 1: batch norm after global pooling gets a single value per channel and cannot train; "
            "this norm runs in evaluation mode in the training step."
        )
    return notes
