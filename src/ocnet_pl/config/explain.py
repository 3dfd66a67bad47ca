"""One line for errors of Hydra and OmegaConf: what is wrong with an override, and what was probably meant."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import OverrideParseException
from omegaconf import DictConfig

from ocnet_pl.config.extras import missing_extra
from ocnet_pl.config.search_path import config_dirs, groups, options, read_yaml

Bare = Callable[[str], DictConfig]
"""Name of a file in `conf/` -> its config, with the chosen groups and without other overrides."""

SET_BY_PROGRAM = {
    "max_steps": "the length of a training is schedule.max_steps",
    "epochs": "trainings are counted in steps here; use schedule.max_steps",
    "max_epochs": "trainings are counted in steps here; use schedule.max_steps",
    "min_steps": "a training does schedule.max_steps steps",
    "min_epochs": "trainings are counted in steps here; use schedule.max_steps",
    "val_check_interval": "use schedule.val_every (steps)",
    "check_val_every_n_epoch": "trainings are counted in steps here; use schedule.val_every",
    "log_every_n_steps": "use schedule.log_every (steps)",
    "enable_checkpointing": "use schedule.checkpoint_every (steps)",
    "logger": "choose it as logger=csv, logger=wandb, logger=tensorboard or logger=[wandb,tensorboard]",
    "default_root_dir": "use outputs=",
    "num_sanity_val_steps": "no validation runs before the first step; dataset.* is checked by 'ocnet-data check'",
    "use_distributed_sampler": "the samplers of this project divide the images over the processes",
    "enable_model_summary": "see 'ocnet-profile' for the size of a network",
    "callbacks": "choose them as callbacks=ema, or add +callbacks.NAME._target_=CLASS",
    "plugins": "plugins are set by ocnet-train",
    "resume": "the same command resumes an interrupted run by itself",
    "resume_from_checkpoint": "the same command resumes an interrupted run by itself; parent= starts from another row",
    "ckpt_path": "the same command resumes an interrupted run by itself; parent= starts from another row",
    "gpus": "use trainer.devices",
}
"""Arguments of Lightning's `Trainer`, in this and older versions, that the program sets; what to use instead. With a
few names that other programs have for them."""


def explain(error: Exception, *, sweeps: bool, command: str, bare: Bare) -> str:
    """One line about an error that an override or a configuration file caused.

    Args:
        error: of Hydra, OmegaConf or PyYAML.
        sweeps: the command takes several values of a setting as several runs.
        command: name of its file in `conf/`.
        bare: composes it without the override.

    Raises:
        UserError: a configuration file is not YAML.
        UnicodeDecodeError: the error, if no configuration file caused it.
    """
    text = str(error)
    if isinstance(error, OverrideParseException):
        return _explain_syntax(error.override)
    if isinstance(error, yaml.YAMLError | UnicodeDecodeError):
        for folder in config_dirs():
            for path in sorted(folder.rglob("*.yaml")):
                read_yaml(path)
        if isinstance(error, UnicodeDecodeError):
            raise error
    if several := re.search(r"Ambiguous value for argument '([^=]+)=(.*?)'\s", text, re.DOTALL):
        key, values = several.groups()
        return f"{key}={values}: expected one value; write '{key}=[{values}]' for a list" + (
            ", or add -m for a sweep" if sweeps else ""
        )
    if missing := re.search(r"Could not find '([^']+)/([^'/]*)'", text):
        group, name = missing.groups()
        if (group, name) == ("hydra/sweeper", "optuna"):  # the option itself comes with the package
            return missing_extra("hydra/sweeper=optuna", "optuna")
        choices = options(group) + (["basic", "joblib", "submitit_local"] if group == "hydra/launcher" else [])
        hint = _hint(f"{group}=", difflib.get_close_matches(name, choices, 1, 0.5))
        return f"{group}={name}: no such option; {hint}choose one of {', '.join(choices)}"
    if wrong := re.search(r"Could not override '([^']+)'", text):
        return _explain_key(wrong.group(1), command, bare)
    key = getattr(error, "full_key", None)  # of OmegaConf, which puts it into the lines below the first
    return f"{key}: {text.splitlines()[0]}" if key else " ".join(text.split())


def setting_names(config: DictConfig, prefix: str = "") -> Iterator[str]:
    """Full names of all settings and groups of settings, each group before its content."""
    for name in map(str, config):
        yield f"{prefix}{name}"
        node = config._get_node(name)
        if isinstance(node, DictConfig):
            yield from setting_names(node, f"{prefix}{name}.")


def _hint(prefix: str, near: list[str]) -> str:
    return f"did you mean {prefix}{near[0]}? " if near else ""


def _explain_syntax(override: str) -> str:
    key, equals, value = override.partition("=")
    if equals and value.startswith("~"):
        return f"{override}: '~' is not expanded here; write {key}={Path(value).expanduser()}"
    if equals and re.search(r"[\s,:{}\[\]()]", value):
        return f"{override!r} is not a valid override: put quotes round the value, '{key}=\"VALUE\"'"
    return f"{override!r} is not a valid override: write key=value"


def _explain_key(key: str, command: str, bare: Bare) -> str:
    if "/" in key:
        hint = _hint("", difflib.get_close_matches(key, groups(), 1, 0.6))
        return f"{key}: no such group; {hint}the groups are {', '.join(groups())}"
    if advice := _trainer_advice(key, command, bare):
        return f"{key}: {advice}"
    config: Any = bare(command)
    hint = _hint("", _near(key, list(setting_names(config))))
    if command == "train":
        return f"{key}: no such setting; {hint}see 'ocnet-train --cfg job' for all of them"
    if not hint and key in setting_names(bare("train")):
        hint = "it is a setting of ocnet-train only; "
    return f"{key}: no such setting of this command; {hint}choose one of {', '.join(map(str, config))}"


def _trainer_advice(key: str, command: str, bare: Bare) -> str:
    """Advice for an argument of Lightning's `Trainer` that no file of `conf/trainer` sets; empty for other settings."""
    group, _, name = key.rpartition(".")
    if group not in ("", "trainer") or name in bare("train").trainer:  # e.g. `devices` alone
        return ""
    if name in SET_BY_PROGRAM:
        return SET_BY_PROGRAM[name] if command == "train" else ""
    from pytorch_lightning import Trainer  # seconds, for an error message only

    if name not in inspect.signature(Trainer).parameters:
        return ""
    return f"not in conf/trainer, but an argument of Lightning's Trainer; add it as +trainer.{name}=VALUE"


def _near(key: str, keys: list[str]) -> list[str]:
    """The setting that was probably meant: the same name elsewhere, or a name or a path that is nearly the same."""
    group, _, name = key.rpartition(".")
    if elsewhere := [other for other in keys if other.rpartition(".")[2] == name]:
        return sorted(elsewhere, key=lambda other: other.count("."))
    siblings = [other.rpartition(".")[2] for other in keys if other.rpartition(".")[0] == group]
    if near := difflib.get_close_matches(name, siblings, 1, 0.75):
        return [f"{group}.{near[0]}".removeprefix(".")]
    return difflib.get_close_matches(key, keys, 1, 0.85)
