"""An attempt at a run: its lock, and the record of the error that ends it."""

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from omegaconf import DictConfig

from ocnet_pl.config.compose import plain
from ocnet_pl.errors import UserError
from ocnet_pl.process import is_process_zero
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.sealed import write_json

_NOT_DETERMINISTIC = " does not have a deterministic implementation"
"""Message of torch about an operation that `torch.use_deterministic_algorithms` refuses, after its name."""


@contextmanager
def attempt(run: RunDirectory, config: DictConfig) -> Iterator[None]:
    """Lock the run's directory during an attempt, and record the error that ends it."""
    if not is_process_zero():
        yield
        return
    with run.claimed():
        run.refuse_other_config(plain(config))
        run.failure.unlink(missing_ok=True)
        write_json(run.started, plain(config))
        try:
            yield
        except Exception as error:
            message = str(error) or type(error).__name__
            with suppress(OSError):  # on a full disk the launcher reports it
                write_json(run.failure, {"error": message, "traceback": traceback.format_exc()})
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    f"{run.path}: {error.strerror}; free some space and rerun the same command to resume"
                ) from error
            if isinstance(error, RuntimeError) and _NOT_DETERMINISTIC in message:
                operation = message.partition(_NOT_DETERMINISTIC)[0]
                raise UserError(
                    f"trainer.deterministic=true: {operation} has no deterministic form on this device; choose another "
                    "head or loss, or set trainer.deterministic=warn"
                ) from error
            raise
