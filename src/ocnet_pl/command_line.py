"""What the console scripts share of their command lines. Nothing heavy: `--help` waits for it."""

import argparse
from collections.abc import Callable
from typing import Protocol


class AddCommand(Protocol):
    """Adds a subcommand, named as its function."""

    def __call__(
        self, run: Callable[[argparse.Namespace], None], summary: str, description: str
    ) -> argparse.ArgumentParser: ...


def parser_of_commands(prog: str, description: str, epilog: str) -> tuple[argparse.ArgumentParser, AddCommand]:
    """A parser with subcommands, and what adds one: `arguments.run(arguments)` then does what was asked for."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=prog, description=description, epilog=epilog, formatter_class=layout)
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
