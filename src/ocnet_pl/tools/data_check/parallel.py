"""Work on many files by all cores."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from ocnet_pl.errors import UserError
from ocnet_pl.process import die_with_parent

_LARGEST_CHUNK = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(
    function: Callable[[Sequence[Item]], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[slice, Result]]:
    """Results for parts of a list, in the order in which they are done, each with the part of the list that it is of.

    Args:
        function: called with one part of the list; it must be at the top of a module, one that imports quickly.
        items: the list.
        workers: processes; with one everything happens in this one.

    Raises:
        UserError: a process was killed.
    """
    size = max(1, min(_LARGEST_CHUNK, -(-len(items) // (8 * workers))))
    parts = [slice(start, min(start + size, len(items))) for start in range(0, len(items), size)]
    if workers == 1:
        for part in parts:
            yield part, function(items[part])
        return
    die_with_parent()
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of torch's threads as they stand
    pool = ProcessPoolExecutor(workers, context, _initialise)
    try:
        tasks = {pool.submit(function, items[part]): part for part in parts}
        for task in as_completed(tasks):
            yield tasks[task], task.result()
    except BrokenProcessPool as error:
        raise UserError("a process was killed, perhaps for memory: take fewer with --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _initialise() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that started us
