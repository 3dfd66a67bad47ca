"""Processes of runs: forked from a server, they are what fresh processes are, and end as these do."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ocnet_pl.process import EXIT_STOPPED, PARENT_VARIABLE, is_alive
from ocnet_pl.sweep import starting
from ocnet_pl.sweep.starting import RunProcess, start_process

if sys.platform != "linux":
    pytest.skip("runs are forked on Linux alone", allow_module_level=True)

Start = Callable[..., RunProcess]
CONSOLE = Path("console.log")


@pytest.fixture
def start(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a module of this code as a run, from a server that has imported nothing: `start("print(1)")`."""
    monkeypatch.setattr(starting, "_server", None)
    monkeypatch.setattr(starting, "MODULES", ())
    monkeypatch.setenv("PYTHONPATH", str(Path(starting.__file__).parents[2]))
    monkeypatch.setenv(PARENT_VARIABLE, str(os.getpid()))
    numbers = iter(range(100))

    def run(code: str, *arguments: str, forked: bool = True, **environment: str) -> RunProcess:
        name = f"module{next(numbers)}"
        Path(f"{name}.py").write_text(code)
        monkeypatch.setattr(starting, "COMMAND", name)
        return start_process(arguments, os.environ | environment, CONSOLE, forked=forked)

    yield run
    starting._end_server()


def printed(process: RunProcess) -> str:
    """All that a run printed, which ends well."""
    before = CONSOLE.stat().st_size
    assert process.wait(60) == 0, CONSOLE.read_text()
    with CONSOLE.open() as file:
        file.seek(before)
        return file.read()


def parent_of(process: RunProcess) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])


STATE = """
import gc, json, multiprocessing, os, random, signal, sys, threading, warnings
import __main__
import numpy

def files():
    links = [f"/proc/self/fd/{number}" for number in range(64)]
    return [os.readlink(link) for link in links if os.path.exists(link)]

state = {
    "arguments": sys.argv[1:],
    "path": sys.path[0],
    "module": [__main__.__file__ == sys.argv[0] == __file__, __main__.__dict__ is globals(), __name__],
    "environment": dict(os.environ),
    "directory": os.getcwd(),
    "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
    "files": files(),
    "input": sys.stdin.read(),
    "buffering": [sys.stdout.line_buffering, sys.stderr.line_buffering],
    "handlers": {sign.name: str(signal.getsignal(sign)).split(" at ")[0] for sign in signal.valid_signals()
                 if isinstance(sign, signal.Signals)},
    "blocked": [str(sign) for sign in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "warnings": [str(one) for one in warnings.filters],
    "threads": [threading.active_count(), threading.current_thread().name, multiprocessing.current_process().name],
    "start method": multiprocessing.get_start_method(allow_none=True),
    "collector": [gc.isenabled(), gc.get_threshold()],
}
with open("state.json", "w") as file:
    json.dump(state, file)
with open("random.json", "w") as file:
    json.dump([random.random(), numpy.random.random()], file)

# What no other run may inherit:
os.environ["LEFT"] = "behind"
os.umask(0)
os.chdir("/")
sys.argv.append("left")
warnings.simplefilter("ignore")
signal.signal(signal.SIGTERM, signal.SIG_IGN)
random.seed(0)
numpy.random.seed(0)
"""


def test_a_forked_run_has_the_state_of_a_fresh_one(start: Start) -> None:
    states, numbers = [], []
    for forked in (True, True, False):
        assert start(STATE, "model/head=a", forked=forked, CUDA_VISIBLE_DEVICES="3").wait(60) == 0, CONSOLE.read_text()
        states.append(json.loads(Path("state.json").read_text()))
        numbers += json.loads(Path("random.json").read_text())
    first, second, fresh = states
    for state in (first, second):
        assert int(state["environment"].pop(PARENT_VARIABLE)) != os.getpid(), "its children die with it"
    del fresh["environment"][PARENT_VARIABLE]  # which `main` of the command sets
    assert first == second == fresh
    assert first["arguments"] == ["model/head=a"]
    assert first["environment"]["CUDA_VISIBLE_DEVICES"] == "3"
    assert first["input"] == ""
    assert [Path(path).name for path in first["files"][:3]] == ["null", "console.log", "console.log"]
    assert len(set(numbers)) == 6, "global random numbers repeat"


ENDS = {
    "return": ("print('done')", 0, "done"),
    "exit code": ("import atexit, sys\natexit.register(print, 'closed')\nsys.exit(2)", 2, "closed"),
    "error": ("raise ValueError('wrong')", 1, "ValueError: wrong"),
    "message": ("raise SystemExit('ocnet-train: error: x')", 1, "ocnet-train: error: x"),
    "SIGKILL": ("import os; print('killed', flush=True); os.kill(os.getpid(), 9)", -9, "killed"),
    "SIGTERM": ("import os; print('stopped', flush=True); os.kill(os.getpid(), 15)", -15, "stopped"),
    "segmentation fault": ("import os; print('crash', flush=True); os.kill(os.getpid(), 11)", -11, "crash"),
    "os._exit": ("import os; print('gone', flush=True); os._exit(75)", 75, "gone"),
}


@pytest.mark.parametrize("forked", [True, False], ids=["forked", "fresh"])
def test_ends_are_reported(forked: bool, start: Start) -> None:
    for code, number, words in ENDS.values():
        process = start(code, forked=forked)
        assert process.wait(60) == process.wait() == number
        assert CONSOLE.read_text().splitlines()[-1] == words, "each run once, in order"


CYCLE = """
import os
class Cycle:
    def __del__(self, write=os.write):
        write(1, b"freed\\n")
cycle = Cycle()
cycle.itself = cycle
"""


def test_what_the_server_imported_is_freed_at_the_end_of_a_run(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries report what is not, e.g. triton."""
    Path("imported.py").write_text(CYCLE)
    monkeypatch.setattr(starting, "MODULES", ("imported",))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(Path.cwd()), os.environ["PYTHONPATH"])))
    process = start("import gc; print(gc.get_freeze_count() > 0, flush=True)")
    assert process.wait(60) == 0
    assert CONSOLE.read_text().splitlines() == ["True", "freed"]


def test_output_is_appended_to_the_run_s_own_file(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    CONSOLE.write_text("before\n")
    assert start("print('first')").wait(60) == 0
    monkeypatch.setitem(globals(), "CONSOLE", Path("other.log"))
    assert start("import sys; print('second'); print('third', file=sys.stderr)").wait(60) == 0
    assert Path("console.log").read_text() == "before\nfirst\n"
    assert sorted(Path("other.log").read_text().splitlines()) == ["second", "third"]


ENDLESS = """
import os, signal, sys, time
def stop(*_):
    with open("stopped", "w") as file:
        file.write("saved")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
open("begun", "w").close()
while True:
    time.sleep(0.05)
"""


def wait_for(path: str) -> None:
    deadline = time.monotonic() + 60
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_run_saves_when_its_server_is_killed_and_the_next_one_gets_another(start: Start) -> None:
    process = start(ENDLESS)
    server = parent_of(process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)
    wait_for("begun")
    os.kill(server, signal.SIGKILL)
    assert process.wait(60) == EXIT_STOPPED
    assert not is_alive(process.pid)
    assert Path("stopped").read_text() == "saved"
    assert int(printed(start("import os; print(os.getppid())"))) not in (server, os.getpid())


LAUNCHER = """
import os, sys
from pathlib import Path
from ocnet_pl.process import die_with_parent
from ocnet_pl.sweep import starting
die_with_parent()
starting.MODULES, starting.COMMAND = (), "endless"
process = starting.start_process([], dict(os.environ), Path("console.log"), forked=True)
print(process.pid, flush=True)
process.wait()
"""


def test_server_and_run_end_with_a_killed_launcher(workplace: Path) -> None:
    Path("endless.py").write_text(ENDLESS)
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    run = int(launcher.stdout.readline())
    server = int(Path(f"/proc/{run}/stat").read_text().rpartition(")")[2].split()[1])
    wait_for("begun")
    launcher.kill()
    launcher.communicate()
    wait_for("stopped")
    deadline = time.monotonic() + 60
    while any(map(is_alive, (server, run))) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(server)
    assert not is_alive(run)
    assert Path("stopped").read_text() == "saved"


PARENT = "import os; print(os.getppid(), os.environ.get('CUDA_VISIBLE_DEVICES'))"


def test_runs_share_a_server_as_long_as_it_is_right(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    first, gpus = printed(start(PARENT, CUDA_VISIBLE_DEVICES="1")).split()
    assert gpus == "1"
    assert printed(start(PARENT)).split() == [first, "None"], "variables of another run"
    other = printed(start(PARENT, OMP_NUM_THREADS="7")).split()[0]
    assert other != first, "read when libraries are loaded"
    assert printed(start(PARENT, OMP_NUM_THREADS="7")).split()[0] == other
    monkeypatch.setattr(starting, "_code", lambda: {"edited.py": 1})
    assert printed(start(PARENT, OMP_NUM_THREADS="7")).split()[0] != other, "the code has changed"


def test_an_edited_or_installed_file_is_other_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "ocnet_pl"
    (package / "sweep").mkdir(parents=True)
    monkeypatch.setattr(starting, "__file__", str(package / "sweep/starting.py"))
    monkeypatch.setattr("sysconfig.get_path", lambda kind: str(tmp_path / "site-packages"))
    seen = [starting._code()]
    for path in ("ocnet_pl/module.py", "ocnet_pl/module.py", "site-packages/other/__init__.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(str(len(seen)))
        os.utime(tmp_path / path, (len(seen), len(seen)))
        seen.append(starting._code())
    assert all(one not in seen[:index] for index, one in enumerate(seen))
    assert starting._code() == seen[-1]


def test_a_run_is_fresh_where_it_cannot_be_forked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """After imports that start threads, or fail; the reason is in its output."""
    threaded = "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()"
    for module, code, reason in (
        ("threaded", threaded, "1 thread"),
        ("broken", "raise RuntimeError('broken module')", "RuntimeError: broken module"),
    ):
        Path(f"{module}.py").write_text(code)
        monkeypatch.setattr(starting, "_server", None)
        monkeypatch.setattr(starting, "MODULES", (module,))
        for _ in range(2):
            process = start(PARENT)
            assert parent_of(process) == os.getpid()
            assert process.wait(60) == 0
        assert CONSOLE.read_text().count(reason) == 1, "tried once"
        starting._end_server()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_start_fresh_processes(platform: str, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting.sys, "platform", platform)  # type: ignore[attr-defined]
    assert isinstance(process := start("print(1)"), subprocess.Popen)
    assert process.wait(60) == 0


def test_a_server_leaves_no_file_open(start: Start) -> None:
    for number in range(3):
        assert start("print(1)").wait(60) == 0
        (CONSOLE.with_name(f"{number}")).touch()
    assert starting._server is not None
    folder = Path(f"/proc/{starting._server._process.pid}/fd")
    assert len([link for link in folder.iterdir() if link.resolve().name == CONSOLE.name]) == 2
    assert len(list(folder.iterdir())) == 4, "input, output, errors and the launcher"


def test_what_a_run_imports_starts_no_thread_and_asks_for_no_gpu(workplace: Path) -> None:
    """A fork of a process that has used CUDA cannot use it."""
    Path("first.py").write_text("""
import torch
def refuse(*arguments):
    raise AssertionError("an import asks for a GPU")
for name in ("is_available", "device_count", "_lazy_init", "current_device", "is_initialized"):
    setattr(torch.cuda, name, refuse)
""")
    code = (
        "import importlib, sys, threading\n"
        "from ocnet_pl.sweep.starting import MODULES\n"
        "for name in ('first', *MODULES): importlib.import_module(name)\n"
        "assert threading.active_count() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
