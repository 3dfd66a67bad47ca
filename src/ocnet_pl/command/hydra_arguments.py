"""Command line of ocnet-train: the options that all commands share, and those that are left to Hydra."""

import argparse
from urllib.parse import urlparse

from hydra.core.override_parser.overrides_parser import OverridesParser

from ocnet_pl.command.parsing import CommandParser, add_config_dirs
from ocnet_pl.errors import UserError


def hydra_arguments(arguments: list[str]) -> list[str]:
    """Handle the options that Hydra lacks or understands differently, and return the others.

    Raises:
        UserError: an option of Hydra that would compose another program, or two options that exclude each other.
    """
    parser = CommandParser(prog="ocnet-train", add_help=False, allow_abbrev=False)
    for option in ("--config-path", "--config-name", "--experimental-rerun"):
        parser.add_argument(option, dest="refused", action=_Refused)
    short = {"-cd": "--config-dir", "-cp": "--config-path", "-cn": "--config-name"}
    _, others = parser.parse_known_args([short.get(argument, argument) for argument in arguments])
    modes = [one for one in others if one in ("-m", "--multirun", "-r", "--run", "-c", "--cfg", "-i", "--info")]
    if len(modes) > 1 or ("--resolve" in others and not {"-c", "--cfg"} & set(modes)):
        raise UserError(f"{' '.join(modes or ['--resolve'])}: give one of -m, --cfg (with --resolve) and --info")
    for word in [word for word in others if word.lstrip("+").startswith("hydra.searchpath=")]:
        others.remove(word)
        add_config_dirs(_search_path(word))
    flags = [one for one in others if one in ("-m", "--multirun", "-r", "--run", "--resolve")]
    return flags + [one for one in others if one not in flags]  # Hydra takes no flag between two overrides


class _Refused(argparse.Action):
    def __call__(self, parser: object, namespace: object, values: object, option: str | None = None) -> None:
        raise UserError(
            f"{option}: ocnet-train composes conf/train.yaml; add your own files with --config-dir DIR and choose them "
            "by group, e.g. experiment=mine"
        )


def _search_path(override: str) -> list[str]:
    """Folders of `hydra.searchpath=[DIR,file:///DIR]`."""
    value = OverridesParser.create().parse_override(override).value()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise UserError(f"{override}: expected a list of folders, e.g. hydra.searchpath=[DIR]")
    for entry in value:
        if urlparse(entry).scheme not in ("", "file"):
            raise UserError(f"{override}: expected a folder, not {entry}; use --config-dir DIR")
    return [entry.removeprefix("file://") for entry in value]
