"""The directory of one run: its files and its state."""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from ocnet_pl.atomic import UNFINISHED
from ocnet_pl.errors import UserError, readable_os_errors
from ocnet_pl.record.identity import Plain, config_difference
from ocnet_pl.record.lock import LockedError, is_locked, locked
from ocnet_pl.record.sealed import read_object

DATA = "data.json"
"""Image count and hash of each split, recorded when the run started."""

_MOST_DIFFERENCES = 4
"""Settings that a message about two configs names."""


class State(StrEnum):
    """State of a run, read from its directory."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    BROKEN = "broken"
    """Interrupted; the run resumes from its last checkpoint, or starts again without one."""
    WAITING = "waiting"


class _Inside:
    """Path inside a run's directory."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunDirectory", owner: type) -> Path:
        return run.path / self.name


@dataclass(frozen=True)
class RunDirectory:
    """`outputs/<table>/<row>/seed-<n>/`."""

    path: Path

    @classmethod
    def of_checkpoint(cls, path: Path) -> Self:
        """Run directory of a checkpoint `<run>/checkpoints/<name>.ckpt`."""
        # A relative path such as last.ckpt does not name the folders above.
        whole = len(path.parts) > len(("row", "seed-0", "checkpoints", "last.ckpt"))
        return cls((path if whole else path.absolute()).parent.parent)

    @property
    def row(self) -> str:
        """Row name within the table."""
        return self.path.parent.name

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.path.name.removeprefix("seed-"))

    @property
    def name(self) -> str:
        """`<row>/seed-<n>`."""
        return f"{self.row}/{self.path.name}"

    result = _Inside("result.json")
    """Exists if and only if the run is finished."""
    failure = _Inside("failure.json")
    """Error of the last attempt; deleted when another attempt starts."""
    started = _Inside("config.json")
    """Resolved config that the run was started with."""
    console = _Inside("console.log")
    """Output of a run that a sweep started."""
    checkpoints = _Inside("checkpoints")
    """Folder of `last.ckpt` and `best.ckpt`."""
    last_checkpoint = _Inside("checkpoints/last.ckpt")
    """Checkpoint from which the run resumes."""
    logs = _Inside("log")
    """Folder of `step-<n>/metrics.csv`, one file per start, from step n."""
    samples = _Inside("samples")
    """Folder of pictures: input, truth and prediction of validation images."""

    def counts(self, evaluation: str) -> Path:
        """File of the per-image counts of an evaluation."""
        return self.path / f"counts-{evaluation.replace('/', '-')}.npz"

    def sibling(self, row: str) -> "RunDirectory":
        """Run of another row with the same seed; `../<table>/<row>` is a row of another sweep."""
        return RunDirectory(Path(os.path.normpath(self.path.parent.parent / row / self.path.name)))

    def state(self) -> State:
        """State of the run, without side effects, whichever process trains it."""
        with readable_os_errors(self.path):
            if self.result.is_file():
                return State.DONE
            if is_locked(self.path):
                return State.RUNNING
            if self.failure.is_file():
                return State.FAILED
            return State.BROKEN if self.started.is_file() else State.WAITING

    def read_started(self) -> dict[str, Any] | None:
        """Config of the first start; None before it."""
        return read_object(self.started) if self.started.is_file() else None

    def read_failure(self) -> str:
        """Error that ended the last attempt."""
        error = read_object(self.failure).get("error")
        if not isinstance(error, str):
            raise UserError(f"{self.failure}: 'error' is not a text; delete the file and rerun the same command")
        return error

    def refuse_other_config(self, config: Plain) -> None:
        """Refuse a config that gives other numbers than that of the run in this directory.

        Raises:
            UserError: the directory contains a run with such a config, finished or not.
        """
        with readable_os_errors(self.path):
            if not self.result.is_file() and not self.last_checkpoint.is_file():  # nothing to lose
                return
            before = self.read_started()
            if before is None and self.result.is_file():
                before = read_object(self.result).get("config")
        if not isinstance(before, dict):
            raise UserError(
                f"{self.started}: missing, so the run beside it cannot be compared with this command; "
                "restore it, or delete the directory"
            )
        if not (difference := config_difference(before, config)):
            return
        named, more = difference[:_MOST_DIFFERENCES], len(difference) - _MOST_DIFFERENCES
        raise UserError(
            f"{self.path}: already contains a run with a different config ({'; '.join(named)}"
            f"{f'; and {more} more' if more > 0 else ''}); choose another name= or row=, or delete it"
        )

    def refuse_unwritable(self) -> None:
        """Raise `UserError` if the directory cannot be created and written; does not create it."""
        with readable_os_errors(self.path):
            place = next(folder for folder in (self.path.absolute(), *self.path.absolute().parents) if folder.exists())
            if not place.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
            if not os.access(place, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))

    def create(self) -> None:
        """Create the directory and its parents; raises `UserError` if it cannot be created."""
        with readable_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Lock the directory against all other processes, also on machines that share the file system.

        Raises:
            UserError: another process holds the lock, or the directory cannot be written.
        """
        self.create()
        with ExitStack() as stack:
            try:
                with readable_os_errors(self.path):
                    stack.enter_context(locked(self.path, patience=1.0))
                    for left in self.path.rglob(f".*{UNFINISHED}"):
                        left.unlink()
            except LockedError:
                raise UserError(
                    f"{self.path}: another process is training this run; wait for it or choose another name="
                ) from None
            yield


def own_place(directory: Path, row: str, seed: int) -> bool:
    """Return whether a directory is the place of the run whose files it holds; a copy (`seed-0.bak`) is not.

    Args:
        directory: directory of the run. The folder of the whole sweep may have been moved or renamed.
        row: row in the run's config or result.
        seed: seed in the run's config or result.
    """
    whole = directory.absolute()
    # Compared as bytes: a terminal without UTF-8 decodes the names of folders in another way than their files.
    same_row = os.fsencode(whole.parent.name) == row.encode(errors="surrogateescape")
    return whole.name == f"seed-{seed}" and same_row
