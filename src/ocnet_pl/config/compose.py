"""The configuration: its groups and options, and how a command or a notebook composes it."""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ocnet_pl.config.search_path import config_dir, config_dirs
from ocnet_pl.errors import UserError
from ocnet_pl.record.identity import Plain


def options(group: str) -> list[str]:
    """Names that a config group takes, for example `options("model/head")`, those of one's own folders among them."""
    return sorted({path.stem for folder in config_dirs() for path in (folder / group).glob("*.yaml")})


def heads() -> list[str]:
    """Names of all context heads: the files of `model/head/` in the config folders are the registry."""
    return options("model/head")


def compose(*overrides: str, config_name: str = "train", given: Mapping[str, Any] | None = None) -> DictConfig:
    """The configuration that a command line gives, with every `${hydra:...}` filled in: `compose("model/head=gp")`.

    Raises:
        UserError: an override that does not exist or cannot be.
    """
    return compose_with_choices(*overrides, config_name=config_name, given=given)[0]


def compose_with_choices(
    *overrides: str, config_name: str = "train", given: Mapping[str, Any] | None = None
) -> tuple[DictConfig, dict[str, str]]:
    """The configuration, and the option chosen in every group.

    Args:
        overrides: as on the command line, for example `"model/head=base_oc"`.
        config_name: file in `conf/`.
        given: config nodes that are in no file, by group, offered under the option `given`.

    Raises:
        UserError: an override that does not exist or cannot be.
    """
    store = ConfigStore.instance()
    for group, node in (given or {}).items():
        store.store(group=group, name="given", node=node)
    # Hydra's state is global: a sweep composes its runs while Hydra itself is at work.
    before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        bare = partial(compose, config_name=config_name, given=given)
        with (
            readable_config_errors(command=config_name, bare=bare),
            initialize_config_dir(str(config_dir()), version_base="1.3"),
        ):
            config = hydra_compose(config_name, list(overrides), return_hydra_config=True)
            HydraConfig.instance().cfg = config  # type: ignore[assignment]
            _resolve(config)
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = before
    OmegaConf.set_struct(config, False)
    choices = dict(config.pop("hydra").runtime.choices)
    OmegaConf.set_struct(config, True)
    return config, choices


def _resolve(config: DictConfig) -> None:
    """OmegaConf's `resolve`, whose errors name no setting."""
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        for key in sorted(_keys(config), key=lambda key: key.startswith("hydra")):  # whose settings follow from ours
            try:
                OmegaConf.select(config, key)
            except OmegaConfBaseException as cause:
                raise UserError(f"{key}: {str(cause).splitlines()[0]}; correct its ${{...}}") from error
        raise


def plain(config: DictConfig) -> Plain:
    """A config as dicts, lists and numbers: what checkpoints and results carry."""
    container: Plain = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return container


def typed_overrides(hydra: Any) -> list[str]:
    """Overrides in a `hydra` node as they were typed: interpolations are not resolved.

    Iterating over the list itself would resolve `row=lr-${schedule.lr}` against that config, and every run of a sweep
    would get the same row.
    """
    typed: list[str] = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # type: ignore[assignment]
    return typed


@contextmanager
def readable_config_errors(
    *, sweeps: bool = False, command: str = "train", bare: Callable[[], DictConfig] = compose
) -> Iterator[None]:
    """Turn errors of Hydra and OmegaConf about an override into one line.

    Args:
        sweeps: the command takes several values of a setting as several runs.
        command: name of its file in `conf/`.
        bare: gives the command's config without overrides.

    Raises:
        UserError: such an error in the block.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error, sweeps, command, bare)) from error


def _explain(error: Exception, sweeps: bool, command: str, bare: Callable[[], DictConfig]) -> str:
    text = str(error)
    if isinstance(error, OverrideParseException):
        return _explain_syntax(error.override)
    if several := re.search(r"Ambiguous value for argument '([^=]+)=(.*?)'\s", text, re.DOTALL):
        key, values = several.groups()
        return (
            f"{key}={values}: one value is expected; write '{key}=[{values}]' for a list"
            f"{', or add -m for a sweep' if sweeps else ''}"
        )
    if missing := re.search(r"Could not find '([^']+)/([^'/]*)'", text):
        group, name = missing.groups()
        choices = options(group) + (["basic", "joblib", "submitit_local"] if group == "hydra/launcher" else [])
        near = difflib.get_close_matches(name, choices, 1, 0.5)
        hint = f"did you mean {group}={near[0]}? " if near else ""
        return f"{group}={name}: no such option; {hint}choose one of {', '.join(choices)}"
    if wrong := re.search(r"Could not override '([^']+)'", text):
        return _explain_key(wrong.group(1), command, bare)
    key = getattr(error, "full_key", None)  # of OmegaConf, which puts it into the lines below the first
    return f"{key}: {text.splitlines()[0]}" if key else " ".join(text.split())


def _explain_syntax(override: str) -> str:
    key, equals, value = override.partition("=")
    if equals and value.startswith("~"):
        return f"{override}: '~' is not expanded here; write {key}={Path(value).expanduser()}"
    if equals and re.search(r"[\s,:{}\[\]()]", value):
        return f"{override!r} is not a valid override: put quotes round the value, '{key}=\"VALUE\"'"
    return f"{override!r} is not a valid override: write key=value"


def _explain_key(key: str, command: str, bare: Callable[[], DictConfig]) -> str:
    if "/" in key:
        groups = _groups()
        near = difflib.get_close_matches(key, groups, 1, 0.6)
        return f"{key}: no such group; {f'did you mean {near[0]}? ' if near else ''}there are {', '.join(groups)}"
    if advice := _trainer_advice(key, command):
        return f"{key}: {advice}"
    config = bare()
    keys = list(_keys(config))
    if (meant := _near(key, keys)) is not None:
        hint = f"did you mean {meant}? "
    elif command != "train" and key in _keys(compose()):
        hint = "it is a setting of ocnet-train only; "
    else:
        hint = ""
    if command == "train":
        return f"{key}: no such setting; {hint}see 'ocnet-train --cfg job' for all of them"
    return f"{key}: no such setting of this command; {hint}there are {', '.join(map(str, config))}"


def _trainer_advice(key: str, command: str) -> str:
    """Advice for an argument of Lightning's `Trainer` that no file of `conf/trainer` sets; empty for other settings."""
    group, _, name = key.rpartition(".")
    if group not in ("", "trainer") or name in compose().trainer:  # e.g. `devices` alone
        return ""
    if name in SET_BY_PROGRAM:
        return SET_BY_PROGRAM[name] if command == "train" else ""
    import inspect

    from pytorch_lightning import Trainer  # seconds, for an error message only

    if name not in inspect.signature(Trainer).parameters:
        return ""
    return f"not in conf/trainer, but Lightning's Trainer has it; add it as +trainer.{name}=VALUE"


SET_BY_PROGRAM = {
    "max_steps": "the length of a training is schedule.max_steps",
    "max_epochs": "trainings are counted in steps here; use schedule.max_steps",
    "min_steps": "a training does schedule.max_steps steps",
    "min_epochs": "trainings are counted in steps here; use schedule.max_steps",
    "val_check_interval": "use schedule.val_every (steps)",
    "check_val_every_n_epoch": "trainings are counted in steps here; use schedule.val_every",
    "log_every_n_steps": "use schedule.log_every (steps)",
    "enable_checkpointing": "use schedule.checkpoint_every (steps)",
    "logger": "choose it as logger=csv or logger=wandb",
    "default_root_dir": "use outputs=",
    "num_sanity_val_steps": "no validation runs before the first step; dataset.* is checked by 'ocnet-data check'",
    "use_distributed_sampler": "the samplers of this project divide the images over the processes",
    "enable_model_summary": "see 'ocnet-profile' for the size of a network",
    "callbacks": "callbacks are set by ocnet-train",
    "plugins": "plugins are set by ocnet-train",
    "resume": "the same command resumes an interrupted run by itself",
    "resume_from_checkpoint": "the same command resumes an interrupted run by itself; parent= starts from another row",
    "ckpt_path": "the same command resumes an interrupted run by itself; parent= starts from another row",
    "gpus": "use trainer.devices",
}
"""Arguments of Lightning's `Trainer`, of this and of older versions, in whose place this project has its own."""


def _groups() -> list[str]:
    """Names of all groups that have options."""
    found = {path.parent.relative_to(folder) for folder in config_dirs() for path in folder.glob("*/**/*.yaml")}
    return sorted(group.as_posix() for group in found)


def _near(key: str, keys: list[str]) -> str | None:
    """The setting that was probably meant: the same name elsewhere, or a name or a path that is nearly the same."""
    group, _, name = key.rpartition(".")
    if elsewhere := [k for k in keys if k.rsplit(".", 1)[-1] == name]:
        return elsewhere[0]
    siblings = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == group}
    if near := difflib.get_close_matches(name, siblings, 1, 0.75):
        return siblings[near[0]]
    return next(iter(difflib.get_close_matches(key, keys, 1, 0.85)), None)


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    for name in config:
        yield f"{prefix}{name}"
        node = config._get_node(name)
        if isinstance(node, DictConfig):
            yield from _keys(node, f"{prefix}{name}.")
