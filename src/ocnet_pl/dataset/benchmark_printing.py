"""What loaders cost, on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable

from ocnet_pl.dataset.timing import Timing
from ocnet_pl.report.terminal import plain


def print_timings(timings: Sequence[Timing], notes: Sequence[str], console: Console) -> None:
    """One line a loader; the last column compares with the first line."""
    grid = RichTable(box=SIMPLE_HEAD)
    grid.add_column("Loader", no_wrap=True)
    for heading in ("ms a sample", "in decoder", "outside (%)", "samples/s", "x plain"):
        grid.add_column(heading, justify="right")
    for timing in timings:
        ratio = timing.samples_per_second / timings[0].samples_per_second
        numbers = timing.total_ms, timing.decoder_ms, 100 * timing.outside, timing.samples_per_second
        grid.add_row(timing.loader, *(f"{number:.1f}" for number in numbers), f"{ratio:.2f}")
    console.print(grid)
    for note in notes:
        console.print(plain(note), style="dim", highlight=False, soft_wrap=True)
