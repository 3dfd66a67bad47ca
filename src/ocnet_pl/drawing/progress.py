"""A progress bar on stderr, so that stdout holds results only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def progress_bar() -> Progress:
    """What is done, how much of it, for how long, and how long still; gone at the end."""
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    return Progress(TextColumn("{task.description}"), *columns, console=Console(stderr=True), transient=True)


@contextmanager
def progress_of(description: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A bar for one piece of work: `advance()`, `advance(3)`, or `advance(3, total)` where the total is known late."""
    with progress_bar() as progress:
        task = progress.add_task(description, total=total)

        def advance(more: int = 1, total: int | None = None) -> None:
            progress.update(task, advance=more, total=total)

        yield advance
