"""What a user did wrong, in one line, and the door through which it leaves."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Wrong input: the message says what is wrong, where, and what to do, in one line."""

    def __str__(self) -> str:
        # A DataLoader worker's error arrives wrapped in the worker's traceback; its last line is ours.
        return super().__str__().rsplit("UserError: ", 1)[-1].strip()


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Ends the process with one line on stderr and exit code 2 when a `UserError` leaves the block.

    Any other exception is a bug of ours and keeps its traceback.
    """
    try:
        yield
    except UserError as error:
        print(f"{command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
