"""Results of a generator that runs in a process of its own, with its own memory, kernels and time limit."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from ocnet_pl.process import die_with_parent


def results_of(work: Callable[..., Iterable[Any]], *arguments: Any, seconds: float) -> Iterator[Any]:
    """Results of `work(*arguments)`, as they come.

    The process is a fork: it has imported what this one has, and starts at once. This process must not have used a GPU.

    Raises:
        TimeoutError: it took longer than `seconds` in all, and was ended.
        ChildProcessError: it ended with an error, which it printed.
    """
    die_with_parent()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, work, arguments))
    process.start()
    sender.close()  # so that the end of the process is the end of the results
    deadline = time.monotonic() + seconds
    try:
        while receiver.poll(max(0.0, deadline - time.monotonic())):
            try:
                yield receiver.recv()
            except EOFError:
                process.join()
                if process.exitcode:
                    raise ChildProcessError(f"ended with exit code {process.exitcode}") from None
                return
        raise TimeoutError(f"took longer than {seconds:.0f} s")
    finally:
        process.kill()
        process.join()
        receiver.close()


def _send(sender: Connection, work: Callable[..., Iterable[Any]], arguments: tuple[Any, ...]) -> None:
    die_with_parent(signal.SIGKILL)
    for result in work(*arguments):
        sender.send(result)
