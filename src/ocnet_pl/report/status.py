"""Progress of a sweep, on the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable

from ocnet_pl.drawing.numbers import duration
from ocnet_pl.record.directory import State
from ocnet_pl.record.status import RunStatus, seconds_left
from ocnet_pl.report.terminal import plain

_COLOURS = {
    State.DONE: "green",
    State.RUNNING: "cyan",
    State.FAILED: "red",
    State.BROKEN: "yellow",
    State.WAITING: "dim",
}


def print_status(title: str, runs: Sequence[RunStatus], console: Console) -> None:
    """Print one line per run, then the errors, the number of runs in each state, and the remaining time."""
    grid = RichTable(title=plain(title), title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("Run", "State"):
        grid.add_column(heading, no_wrap=True)
    grid.add_column("Progress", width=12)
    grid.add_column("Steps", justify="right", no_wrap=True)
    grid.add_column("Time left", justify="right", no_wrap=True)
    grid.add_column("", overflow="fold")
    for run in runs:
        colour = _COLOURS[run.state]
        bar = ProgressBar(run.max_steps or 1, run.steps or 0, width=12) if run.max_steps else ""
        state = f"[{colour}]{run.state}[/]"
        note = "" if run.state is State.FAILED else run.note
        grid.add_row(plain(run.name), state, bar, _steps(run), duration(run.seconds_left), plain(note))
    console.print(grid)
    for run in runs:
        if run.state is State.FAILED:  # too long for a cell
            error = " ".join(run.note.split())
            console.print(plain(f"{run.name}: {error}"), style="red", highlight=False, soft_wrap=True)
    counts = ", ".join(f"{n} {state}" for state in State if (n := sum(run.state is state for run in runs)))
    left = seconds_left(runs)
    still = f"; about {duration(left)} left at this pace, without tests" if left is not None else ""
    console.print(f"{len(runs)} runs: {counts}{still}", highlight=False)
    states = {run.state for run in runs}
    if State.RUNNING not in states and states & {State.FAILED, State.BROKEN, State.WAITING}:
        console.print("no run is in training; rerun the same ocnet-train command to train the rest", style="yellow")


def _steps(run: RunStatus) -> str:
    if run.max_steps is None:
        return ""
    return f"{'?' if run.steps is None else run.steps} of {run.max_steps}"
