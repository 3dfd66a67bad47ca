"""One process a folder; whoever looks is in nobody's way, on every file system."""

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from ocnet_pl.errors import UserError
from ocnet_pl.record import lock
from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.lock import LEASE, LEASE_SECONDS, LOCK, LockedError, is_locked, locked
from ocnet_pl.record.sealed import write_json


def _hold(folder: Path, holds: Event, until: Event) -> None:
    with locked(folder):
        holds.set()
        until.wait(60)


def _look(folder: Path, until: Event) -> None:
    while not until.is_set():
        is_locked(folder)


def test_who_looks_is_in_nobodys_way(tmp_path: Path) -> None:
    """Two lookers, one of them beside one who starts: neither sees the other, and the start never waits."""
    (tmp_path / LOCK).touch()
    context = multiprocessing.get_context("fork")
    over = context.Event()
    looker = context.Process(target=_look, args=(tmp_path, over))
    looker.start()
    try:
        for _ in range(2000):
            assert not is_locked(tmp_path)
            with locked(tmp_path):  # no patience: one look that locked would fail it
                assert is_locked(tmp_path)
    finally:
        over.set()
        looker.join(10)


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    with locked(tmp_path):
        pass
    before = [(path, path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.iterdir()]
    for _ in range(3):
        is_locked(tmp_path)
    assert [(path, path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.iterdir()] == before


def test_a_killed_process_gives_its_lock_back(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    holds, until = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, holds, until))
    process.start()
    assert holds.wait(30)
    assert is_locked(tmp_path)
    with pytest.raises(LockedError), locked(tmp_path):
        pass
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(10)
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        pass


def test_patience_waits_for_the_holder(tmp_path: Path) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path):
            held.set()
            time.sleep(0.2)
        done.set()

    threading.Thread(target=hold).start()
    assert held.wait(10)
    with locked(tmp_path, patience=10, every=0.01):
        assert done.wait(1)


@pytest.mark.parametrize("content", ["", "{pid}\n{host}\n", "123\nelsewhere\n", "junk"])
def test_a_lock_file_of_another_kind_says_nothing(content: str, tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(content.format(pid=os.getpid(), host=socket.gethostname()))
    run = RunDirectory(tmp_path)
    write_json(run.started, {})
    assert run.state() is State.BROKEN
    with run.claimed():
        assert run.state() is State.RUNNING


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def lockless(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without locks."""

    def refuse(*_: Any) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "fcntl", refuse)


@pytest.mark.usefixtures("lockless")
def test_without_locks_a_lease_keeps_others_out(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        assert is_locked(tmp_path)
        with pytest.raises(LockedError), locked(tmp_path):
            pass
    assert not is_locked(tmp_path)
    with locked(tmp_path):
        pass


@pytest.mark.usefixtures("lockless")
def test_without_locks_a_killed_run_is_not_running_for_ever(tmp_path: Path) -> None:
    code = (
        "import fcntl, os, sys; from pathlib import Path; from ocnet_pl.record.lock import locked\n"
        "def refuse(*_): raise OSError(38, 'no')\n"
        "fcntl.fcntl = refuse\n"
        "with locked(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, timeout=60)
    assert is_locked(tmp_path), "its last sign of life is a moment ago"
    past = time.time() - LEASE_SECONDS - 1
    os.utime(tmp_path / LEASE, (past, past))
    assert not is_locked(tmp_path)
    with locked(tmp_path):  # its process is gone from this machine, so nobody waits for a sign of life
        assert is_locked(tmp_path)


def test_a_lease_of_a_machine_without_locks_counts(tmp_path: Path) -> None:
    (tmp_path / LEASE).touch()
    assert is_locked(tmp_path)
    with pytest.raises(LockedError), locked(tmp_path):
        pass


def test_another_error_of_the_lock_is_not_taken_for_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lock, "_set", refuse)
    with pytest.raises(UserError, match="Input/output error"), RunDirectory(tmp_path).claimed():
        pass


def test_the_structure_of_a_lock_is_the_systems() -> None:
    """Offsets of `struct flock` on 64-bit Linux."""
    assert struct.calcsize(lock._STRUCT_FLOCK) == 32
    assert struct.pack(lock._STRUCT_FLOCK, 1, 0, 2, 3, 4)[8:16] == struct.pack("q", 2)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENAMETOOLONG])
def test_a_lock_file_that_cannot_be_written_is_named(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's, or on a disk that is read-only or full."""
    usual = os.open

    def open_file(path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        if str(path).endswith(LOCK) and flags & os.O_RDWR:
            raise OSError(code, os.strerror(code), str(path))
        return usual(path, flags, *arguments, **keywords)

    run = RunDirectory(tmp_path)
    write_json(run.started, {})
    with run.claimed():
        pass
    monkeypatch.setattr(os, "open", open_file)
    assert run.state() is State.BROKEN
    with pytest.raises(UserError, match=rf"{LOCK}: {os.strerror(code)}; \w+"), run.claimed():
        pass
