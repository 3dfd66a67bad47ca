"""Progress bar on stderr, so that stdout holds results only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar() -> Progress:
    """Bar with description, count, elapsed and remaining time; it disappears at the end."""
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    return Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True)


@contextmanager
def progress_of(description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show a bar for one task; yields `advance(more=1, total=None)`, whose total may be given late."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=total)

        def advance(more: int = 1, total: int | None = None) -> None:
            progress.update(task, advance=more, total=total)

        yield advance
