"""Parts that all console scripts share. It imports nothing heavy: `--help` has to be fast."""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from ocnet_pl import __version__
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.escaping import printable
from ocnet_pl.process import CONF_VARIABLE

CHECKPOINT = "outputs/<name>/<row>/seed-<n>/checkpoints/last.ckpt, or hf://user/repo/last.ckpt"
"""Place of a run's checkpoint, for help texts and errors."""


@contextmanager
def console_script(name: str) -> Iterator[None]:
    """Wrap the `main` of a command: errors of the user end it with one line."""
    safe_output()
    with one_line_errors(name):
        yield


def safe_output() -> None:
    """Write characters that the terminal's encoding lacks (+-, names) as escapes; each command calls this first."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class CommandParser(argparse.ArgumentParser):
    """Parser with the options that every command has; it reports an error in one line."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **keywords})
        self.add_argument("--version", action="version", version=f"ocnet_pl {__version__}")
        self.add_argument(
            "--config-dir",
            type=lambda folder: add_config_dirs([folder]),
            default=argparse.SUPPRESS,
            metavar="DIR",
            help=f"folder of your own configuration files, searched before the package's; also as {CONF_VARIABLE}=DIR",
        )

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"{self.prog}: error: {printable(' '.join(message.split()))}; see {self.prog} --help\n")


def add_config_dirs(folders: Sequence[str]) -> None:
    """Search these folders for configuration files, before the folders that are already searched.

    Args:
        folders: folders in the order of the search.
    """
    before = os.environ.get(CONF_VARIABLE, "").split(os.pathsep)
    paths = dict.fromkeys([*(str(Path(folder).expanduser().absolute()) for folder in folders), *filter(None, before)])
    os.environ[CONF_VARIABLE] = os.pathsep.join(paths)


Run = Callable[[argparse.Namespace], None]
"""Function that runs a subcommand, which is named after it."""


def parser_of_commands(
    prog: str, description: str, epilog: str
) -> tuple[argparse.ArgumentParser, Callable[[Run, str, str], argparse.ArgumentParser]]:
    """Parser with subcommands, and a function that adds one: (run, summary, description) -> its parser.

    `arguments.run(arguments)` runs the chosen subcommand.
    """
    parser = CommandParser(prog=prog, description=description, epilog=epilog)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def add(run: Run, summary: str, description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(run.__name__.removeprefix("_"), help=summary, description=description)
        command.set_defaults(run=run)
        return command

    return parser, add


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option `--device`."""
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if the machine has one")


def require_checkpoints(*paths: Path) -> None:
    """Report a missing file at once, before torch is imported.

    Raises:
        UserError: one of the files does not exist.
    """
    if missing := next((path for path in paths if not path.is_file()), None):
        raise UserError(f"{missing}: no such file; a run keeps its checkpoint in {CHECKPOINT}")


def whole_number(text: str, largest: int | None = None) -> int:
    """Type of an argument: a whole number from 1, at most `largest`."""
    if text.isdecimal() and 1 <= int(text) <= (largest or int(text)):
        return int(text)
    limit = f"to {largest}" if largest else "up"
    raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 {limit}")


def image_size(text: str) -> tuple[int, int]:
    """Type of an argument: `769` or `1024x2048` -> (height, width), at least 64."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text}: expected a number, or HEIGHTxWIDTH, e.g. 1024x2048")
    size = int(match[1]), int(match[2] or match[1])
    if min(size) < 64:
        raise argparse.ArgumentTypeError(f"{text}: too small for features at stride 8; use at least 64")
    return size
