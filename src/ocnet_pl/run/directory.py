"""One run is one directory: what lies where in it, and in which state the run is."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from ocnet_pl.errors import UserError, unusable
from ocnet_pl.run.identity import Plain, config_difference
from ocnet_pl.whole_file import UNFINISHED, write_text


class State(StrEnum):
    """Of a run, read off its directory."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    BROKEN = "broken"
    """Stopped in the middle; it resumes from its last checkpoint, or starts again where there is none."""
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
        """Of the table."""
        return self.path.parent.name

    @property
    def seed(self) -> int:
        """Of the run."""
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
        """Read off the files, whoever wrote them."""
        if self.result.is_file():
            return State.DONE
        if self._is_locked():
            return State.RUNNING
        if self.failure.is_file():
            return State.FAILED
        return State.BROKEN if self.started.is_file() else State.WAITING

    def read_started(self) -> dict[str, Any] | None:
        """The config of the first start; None before it."""
        return read_json(self.started) if self.started.is_file() else None

    def refuse_other_config(self, config: Plain) -> None:
        """Raises: UserError: it holds a run, finished or not, of a config that gives other numbers."""
        before = self.read_started()
        kept = self.result.is_file() or self.last_checkpoint.is_file()  # else there is nothing to lose
        if before is None or not kept or not (difference := config_difference(before, config)):
            return
        more = f"; and {len(difference) - 4} more" if len(difference) > 4 else ""
        raise UserError(
            f"{self.path}: holds a run of another config ({'; '.join(difference[:4])}{more}): "
            "give this one another name= or row=, or delete the directory"
        )

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keeps every other process out, on this machine and on those that share the file system.

        Raises:
            UserError: another process has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            # Who only asks for the state holds the lock for a moment, too.
            with FileLock(self._lock_file, timeout=1):
                for left in self.path.rglob(f".*{UNFINISHED}"):
                    left.unlink()
                yield
        except Timeout:
            raise UserError(
                f"{self.path}: another process is training this run; wait for it or choose another name="
            ) from None

    @property
    def _lock_file(self) -> Path:
        return self.path / ".lock"

    def _is_locked(self) -> bool:
        if not self._lock_file.exists():
            return False
        try:
            with FileLock(self._lock_file, blocking=False):
                return False
        except Timeout:
            return True


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
    return whole.name == f"seed-{seed}" and whole.parent.name == row


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
