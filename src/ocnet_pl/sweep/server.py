"""Server of a sweep: it imports once what every run needs, and forks the runs, one at a time.

`python -m ocnet_pl.sweep.server FD MODULE...`, with a connection to the launcher. A run gets the state of a fresh
interpreter that has imported the same modules: the server computes nothing, starts no thread and uses no GPU.
"""

import atexit
import gc
import importlib
import os
import runpy
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from ocnet_pl.process import die_with_parent
from ocnet_pl.sweep.starting import Request


def main() -> None:
    """Serve until the launcher ends; in the process of a run, execute the run."""
    die_with_parent()
    descriptor, *modules = sys.argv[1:]
    request = _serve(Connection(int(descriptor)), modules)
    if request is not None:
        _execute(request)


def _serve(launcher: Connection, modules: Sequence[str]) -> Request | None:
    """Fork a process for every request; return the request in that process, and None at the end of the server.

    A run sends its process id itself: then it leads its session and ends with this server. The server adds its exit
    code later.
    """
    for name in modules:
        importlib.import_module(name)
    if (others := threading.active_count() - 1) > 0:
        # A fork copies the locks that other threads hold, and not the threads that would release them.
        print(f"imports have started {others} threads: runs are not forked", file=sys.stderr)
        return None
    gc.collect()
    gc.freeze()  # the garbage collection of a run would copy all pages
    while True:
        try:
            request: Request = launcher.recv()
        except (EOFError, ConnectionError):
            return None
        _write_to(request.console)
        process = os.fork()
        if process == 0:
            os.setsid()
            die_with_parent()
            with launcher:
                launcher.send((os.getpid(), None))
            return request
        _, status = os.waitpid(process, 0)
        launcher.send((process, os.waitstatus_to_exitcode(status)))


def _write_to(path: str) -> None:
    """Append the output of this process, and of those that it forks, to a file."""
    sys.stdout.flush()
    with Path(path).open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


def _execute(request: Request) -> None:
    """Execute the module of a request."""
    os.environ.update(request.environment)
    os.chdir(request.directory)
    sys.path[0] = request.directory
    sys.argv[1:] = request.arguments
    importlib.invalidate_caches()
    atexit.register(gc.unfreeze)  # what stays frozen to the end is reported as leaked, e.g. by triton
    np.random.seed()  # noqa: NPY002 (the global generator; the fork seeds Python's own, and torch's is a constant)
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
