"""Work on many files by all cores."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from ocnet_pl.errors import UserError
from ocnet_pl.process import die_with_parent

_LARGEST_CHUNK = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_processes(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Results of a function for every item, in order.

    Args:
        function: function at the top level of a module that imports quickly.
        items: arguments of the calls.
        workers: number of processes; with 1, everything happens in this process.

    Raises:
        UserError: a process was killed.
    """
    if workers == 1:
        yield from map(function, items)
        return
    die_with_parent()
    chunk = max(1, min(_LARGEST_CHUNK, -(-len(items) // (8 * workers))))
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of torch's threads
    pool = ProcessPoolExecutor(workers, context, _initialise)
    try:
        yield from pool.map(function, items, chunksize=chunk)
    except BrokenProcessPool as error:
        raise UserError("a process was killed, perhaps for lack of memory; use fewer with --workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _initialise() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    cv2.setNumThreads(0)
