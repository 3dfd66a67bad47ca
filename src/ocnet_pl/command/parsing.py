"""The part that all console scripts share. Nothing heavy: `--help` waits for it."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from ocnet_pl import __version__
from ocnet_pl.process import CONF_VARIABLE


def safe_output() -> None:
    """Write characters that the terminal's encoding lacks (+-, names) as escapes; each command calls this first."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class CommandParser(argparse.ArgumentParser):
    """A parser with the options that every command has, before or after its subcommand."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.add_argument("--version", action="version", version=f"ocnet_pl {__version__}")
        self.add_argument(
            "--config-dir",
            action=_AddConfigDir,
            default=argparse.SUPPRESS,
            metavar="DIR",
            help=f"folder of your own configuration files, searched before the package's; also as {CONF_VARIABLE}=DIR",
        )


class _AddConfigDir(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        add_config_dirs([values])


def add_config_dirs(folders: Sequence[str]) -> None:
    """Search these folders for configuration files, before those that are searched already.

    Args:
        folders: the first is searched first.
    """
    before = os.environ.get(CONF_VARIABLE, "").split(os.pathsep)
    paths = dict.fromkeys([*(str(Path(folder).expanduser().absolute()) for folder in folders), *filter(None, before)])
    os.environ[CONF_VARIABLE] = os.pathsep.join(paths)


class AddCommand(Protocol):
    """Adds a subcommand, named as its function."""

    def __call__(
        self, run: Callable[[argparse.Namespace], None], summary: str, description: str
    ) -> argparse.ArgumentParser: ...


def parser_of_commands(prog: str, description: str, epilog: str) -> tuple[argparse.ArgumentParser, AddCommand]:
    """A parser with subcommands, and a function that adds one: `arguments.run(arguments)` then runs the one chosen."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = CommandParser(prog=prog, description=description, epilog=epilog, formatter_class=layout)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def add(run: Callable[[argparse.Namespace], None], summary: str, description: str) -> argparse.ArgumentParser:
        name = run.__name__.removeprefix("_")
        one = commands.add_parser(name, help=summary, description=description, formatter_class=layout)
        one.set_defaults(run=run)
        return one

    return parser, add


def whole_number(text: str) -> int:
    """From 1 up, as a type of argparse."""
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 up is expected")
