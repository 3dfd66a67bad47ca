"""Process of a run: forked from a server that has imported what a run needs, or a fresh interpreter."""

import atexit
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import IO, Protocol

from ocnet_pl.process import CONF_VARIABLE, EXIT_STOPPED, START_VARIABLE, is_alive

COMMAND = "ocnet_pl.command.train"
"""Module that a run executes, as `python -m` does."""

MODULES = (
    "ocnet_pl.sweep.callback",
    "ocnet_pl.run.training",
    "torch._dynamo",  # the first step of any optimizer imports it
)
"""Modules that every run imports, and a server beforehand."""

LATE = ("CUDA_VISIBLE_DEVICES", START_VARIABLE, CONF_VARIABLE)
"""Environment variables that nothing reads while a run's modules are imported, so the runs of one server may differ in
them. Any other one may be read then (`OMP_NUM_THREADS` is): a run with another value gets another server."""


class RunProcess(Protocol):
    """Process of a run, which leads a session of its own; `subprocess.Popen` is one."""

    pid: int

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code, which is negative after a signal.

        Raises:
            subprocess.TimeoutExpired: the process has not ended.
        """


def start_process(
    arguments: Sequence[str], environment: Mapping[str, str], console: Path, *, forked: bool
) -> RunProcess:
    """Start `ocnet-train` in a session of its own.

    Args:
        arguments: words after the command.
        environment: its environment variables.
        console: file that its output is appended to.
        forked: fork it from a server, which is kept for the next run, where the system allows that.
    """
    with console.open("a") as output:
        # macOS cannot fork a process that has loaded its frameworks, and Windows none.
        if forked and sys.platform == "linux" and (process := _fork(arguments, environment, console, output)):
            return process
        return subprocess.Popen(
            [sys.executable, "-m", COMMAND, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@dataclass(frozen=True)
class Request:
    """Request to fork a process that executes a module, as `python -m` does.

    Attributes:
        module: name of the module.
        arguments: words after it.
        environment: its variables of `LATE`.
        directory: working directory.
        console: file that its output is appended to.
    """

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    console: str


def _fork(
    arguments: Sequence[str], environment: Mapping[str, str], console: Path, output: IO[str]
) -> RunProcess | None:
    """A run forked from the server of this process; None if the server has ended."""
    global _server
    early = {name: value for name, value in environment.items() if name not in LATE}
    late = {name: value for name, value in environment.items() if name in LATE}
    code = _code()
    if _server is None or _server.is_outdated(early, code):
        _end_server()
        _server = Server(early, code, output, MODULES)
    return _server.fork(Request(COMMAND, arguments, late, str(Path.cwd()), str(console.absolute())))


def _code() -> dict[str, int]:
    """Modification times of this package's files and of the folders of installed packages."""
    package = Path(__file__).resolve().parents[1]
    times = {}
    for path in (*package.rglob("*.py"), *(Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib"))):
        with suppress(OSError):  # removed meanwhile
            times[str(path)] = path.stat().st_mtime_ns
    return times


class Server:
    """The launcher's side of `sweep/server.py`.

    Args:
        environment: environment variables without those of `LATE`.
        code: the code that it imports.
        output: file of its output until the first run.
        modules: modules that it imports.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        code: Mapping[str, int],
        output: IO[str],
        modules: Sequence[str],
    ) -> None:
        self._identity = environment, code
        self._has_forked = False
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ocnet_pl.sweep.server", str(theirs.fileno()), *modules],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # a terminal sends Ctrl-C to the launcher's group; a session is a mark of runs
            )

    def is_outdated(self, environment: Mapping[str, str], code: Mapping[str, int]) -> bool:
        """Test whether another server would do better: one that ended before its first run would end again."""
        was_killed = self._has_forked and self._process.poll() is not None
        return was_killed or self._identity != (environment, code)

    def fork(self, request: Request) -> RunProcess | None:
        """Start a run, after the end of the one before; None if the server has ended, which its output explains."""
        try:
            self._connection.send(request)
            pid, code = self._connection.recv()
        except (EOFError, ConnectionError):
            return None
        self._has_forked = True
        return _Forked(self._connection, pid, code)

    def end(self) -> None:
        """End the server, which has no run."""
        self._process.terminate()
        self._process.wait()
        self._connection.close()


_server: Server | None = None
"""Server of this process; each worker of a parallel launcher has its own."""


@atexit.register
def _end_server() -> None:
    if _server is not None:
        _server.end()


class _Forked:
    """A run that is a child of the server."""

    def __init__(self, server: Connection, pid: int, code: int | None) -> None:
        self._server = server
        self.pid = pid
        self._code = code

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            if not self._server.poll(timeout):
                raise subprocess.TimeoutExpired(COMMAND, timeout or 0)
            try:
                _, self._code = self._server.recv()
            except (EOFError, ConnectionError):  # killed, on which the kernel asks the run to save and exit
                self._wait_alone(timeout)
                self._code = EXIT_STOPPED
        return self._code

    def _wait_alone(self, timeout: float | None) -> None:
        began = time.monotonic()
        while is_alive(self.pid):
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired(COMMAND, timeout)
            time.sleep(0.1)
