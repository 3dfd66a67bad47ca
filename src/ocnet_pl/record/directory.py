"""One run is one directory: its files and its state."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from ocnet_pl.atomic import UNFINISHED, write_text
from ocnet_pl.errors import UserError, readable_os_errors, unusable
from ocnet_pl.record.identity import Plain, config_difference
from ocnet_pl.record.lock import LockedError, is_locked, locked

DATA = "data.json"
"""Number of images of each split, and one hash over them, as the run found them when it started."""


class State(StrEnum):
    """State of a run, read from its directory."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    BROKEN = "broken"
    """Interrupted; it resumes from its last checkpoint, or starts again where there is none."""
    WAITING = "waiting"


@dataclass(frozen=True)
class RunDirectory:
    """`outputs/<table>/<row>/seed-<n>/`."""

    path: Path

    @classmethod
    def of_checkpoint(cls, path: Path) -> Self:
        """The one that a checkpoint lies in, if it lies in any."""
        # A path such as last.ckpt, typed where it lies, does not name the folders above.
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
    def result(self) -> Path:
        """`result.json`: there when and only when the run is finished."""
        return self.path / "result.json"

    @property
    def failure(self) -> Path:
        """What the last attempt died of; gone as soon as another starts."""
        return self.path / "failure.json"

    @property
    def started(self) -> Path:
        """The resolved config that the run was started with."""
        return self.path / "config.json"

    @property
    def console(self) -> Path:
        """What the run printed, when a sweep started it."""
        return self.path / "console.log"

    @property
    def checkpoints(self) -> Path:
        """Folder of `last.ckpt` and `best.ckpt`."""
        return self.path / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """Where a resume reads on."""
        return self.checkpoints / "last.ckpt"

    @property
    def logs(self) -> Path:
        """Folder of `step-<n>/metrics.csv`, one for every start from step n."""
        return self.path / "log"

    @property
    def samples(self) -> Path:
        """Folder of pictures: input, truth and prediction of validation images."""
        return self.path / "samples"

    def counts(self, evaluation: str) -> Path:
        """File of the counts of every image that an evaluation is made of."""
        return self.path / f"counts-{evaluation.replace('/', '-')}.npz"

    def sibling(self, row: str) -> "RunDirectory":
        """The run of another row of the sweep, or of another sweep as `../<table>/<row>`, with the same seed."""
        return RunDirectory(Path(os.path.normpath(self.path.parent.parent / row / self.path.name)))

    def state(self) -> State:
        """State of the run, whoever trains it; looking changes nothing and is in nobody's way.

        Raises:
            UserError: the directory cannot be read.
        """
        with readable_os_errors(self.path):
            if self.result.is_file():
                return State.DONE
            if is_locked(self.path):
                return State.RUNNING
            if self.failure.is_file():
                return State.FAILED
            return State.BROKEN if self.started.is_file() else State.WAITING

    def read_started(self) -> dict[str, Any] | None:
        """The config of the first start; None before it.

        Raises:
            UserError: `config.json` is damaged.
        """
        return read_object(self.started) if self.started.is_file() else None

    def read_failure(self) -> str:
        """The error that ended the last attempt.

        Raises:
            UserError: `failure.json` is damaged.
        """
        error = read_object(self.failure).get("error")
        if not isinstance(error, str):
            raise UserError(f"{self.failure}: its 'error' is not a text; delete it and run the same command again")
        return error

    def refuse_other_config(self, config: Plain) -> None:
        """Compare a config with that of the run in this directory.

        Raises:
            UserError: the directory contains a run, finished or not, whose config gives other numbers.
        """
        with readable_os_errors(self.path):
            if not self.result.is_file() and not self.last_checkpoint.is_file():  # then there is nothing to lose
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
        more = f"; and {len(difference) - 4} more" if len(difference) > 4 else ""
        raise UserError(
            f"{self.path}: already contains a run with a different config ({'; '.join(difference[:4])}{more}); "
            "choose another name= or row=, or delete it"
        )

    def refuse_unwritable(self) -> None:
        """Check that the directory is there, or can be made, and that files can be made in it.

        Raises:
            UserError: they cannot.
        """
        with readable_os_errors(self.path):
            place = next(folder for folder in (self.path.absolute(), *self.path.absolute().parents) if folder.exists())
            if not place.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
            if not os.access(place, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))

    def create(self) -> None:
        """Make the directory, with those above it.

        Raises:
            UserError: it cannot be made.
        """
        with readable_os_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep every other process out, on this machine and on those that share the file system.

        Raises:
            UserError: another process has it, or it cannot be written.
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


def own_place(directory: Path, name: str, row: str, seed: int) -> bool:
    """Return whether a directory is the place of the run whose files lie in it.

    A copy (`seed-0.bak`, `ppm_old/seed-0`) holds the files of another run.

    Args:
        directory: the run's directory.
        name: name of the sweep in the run's config or result; not compared, because the folder of a whole sweep may
            have been moved or renamed.
        row: row in the run's config or result.
        seed: seed in the run's config or result.
    """
    whole = directory.absolute()
    # Bytes, because a terminal without UTF-8 gives the names of folders in another form than the files in them.
    same_row = os.fsencode(whole.parent.name) == row.encode(errors="surrogateescape")
    return whole.name == f"seed-{seed}" and same_row


def write_json(path: Path, content: Any) -> None:
    """Write plain content, whole or not at all.

    Raises:
        UserError: a number in it is not finite, for which JSON has no word.
    """
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except ValueError:
        raise UserError(f"{path}: not written, a number in it is infinite or not a number") from None
    write_text(path, f"{text}\n")


def read_json(path: Path) -> Any:
    """Read plain content; NaN and Infinity, which older versions wrote, are read too.

    Raises:
        UserError: the file cannot be read, or is not JSON.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: no such file; restore it")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(unusable(error)) from error
    except (ValueError, RecursionError) as error:  # not UTF-8 is a ValueError, too
        raise UserError(f"{path}: not valid JSON ({error}); restore or delete it") from error


def read_object(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object.

    Raises:
        UserError: it cannot be read or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}; restore or delete it")
    return content
