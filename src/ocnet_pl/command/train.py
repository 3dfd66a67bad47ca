"""`ocnet-train`: one run, or a sweep of them."""

import argparse
import os
import sys
from pathlib import Path
from urllib.parse import urlparse

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from ocnet_pl.command.parsing import CommandParser, add_config_dirs, safe_output
from ocnet_pl.config.compose import plain, readable_config_errors, typed_overrides
from ocnet_pl.config.search_path import config_dir
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.process import die_with_parent, is_process_zero, leave_stale_group


@hydra.main(config_path=str(config_dir()), config_name="train", version_base="1.3")
def _job(config: DictConfig) -> float | None:
    with one_line_errors("ocnet-train"):
        if "sweep" not in HydraConfig.get().callbacks:
            raise UserError(
                "hydra.callbacks: 'sweep' is missing, which checks runs before they start; remove this override"
            )
        overrides = typed_overrides(HydraConfig.get())
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            from ocnet_pl.sweep.launching import start_run

            return start_run(config, overrides)
        from ocnet_pl.record.directory import RunDirectory
        from ocnet_pl.run.training import refuse_changed_data, train

        run = RunDirectory(Path(HydraConfig.get().runtime.output_dir))
        if run.result.is_file():  # no process waits for the others then
            if is_process_zero():
                run.refuse_other_config(plain(config))
                refuse_changed_data(config, run)
                print(f"{run.path}: already finished; delete it or choose another name= to train again")
            return None
        train(config, run, choices=dict(HydraConfig.get().runtime.choices), overrides=overrides)
        if is_process_zero():
            print(f"finished: {run.result}")
    return None


def main() -> None:
    """Entry point."""
    safe_output()
    die_with_parent()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra passes exceptions on, and they end as one line
    with one_line_errors("ocnet-train"), readable_config_errors(sys.argv[1:], sweeps=True):
        sys.argv[1:] = _own_arguments(sys.argv[1:])
        leave_stale_group("ocnet-train")
        _job()


def _own_arguments(arguments: list[str]) -> list[str]:
    """Handle the options that all commands share and Hydra lacks or understands differently; return the others.

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


if __name__ == "__main__":
    main()
