"""Composition of the configuration, for commands and notebooks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ocnet_pl.config import places
from ocnet_pl.config.explain import explain, setting_names
from ocnet_pl.config.search_path import config_dir, is_group, options
from ocnet_pl.errors import UserError
from ocnet_pl.record.identity import Plain

places.register()


def heads() -> list[str]:
    """Names of all context heads: the files of `model/head/` in the config folders are the registry."""
    return options("model/head")


def compose(*overrides: str, config_name: str = "train", given: Mapping[str, Any] | None = None) -> DictConfig:
    """The configuration of a command line, with every `${hydra:...}` filled in: `compose("model/head=gp")`.

    Raises:
        UserError: an override that does not exist or is not possible.
    """
    return compose_with_choices(*overrides, config_name=config_name, given=given)[0]


def compose_with_choices(
    *overrides: str, config_name: str = "train", given: Mapping[str, Any] | None = None
) -> tuple[DictConfig, dict[str, str | None]]:
    """The configuration, and the option chosen in every group.

    Args:
        overrides: as on the command line, e.g. `"model/head=base_oc"`.
        config_name: file in `conf/`.
        given: config nodes that are in no file, by group, offered under the option `given`.

    Raises:
        UserError: an override that does not exist or is not possible.
    """
    store = ConfigStore.instance()
    for group, node in (given or {}).items():
        store.store(group=group, name="given", node=node)
    # Hydra's state is global: a sweep composes its runs while Hydra itself is at work.
    # private: `GlobalHydra.hydra`, `HydraConfig.cfg`
    before = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    GlobalHydra.instance().clear()
    try:
        with (
            readable_config_errors(overrides, command=config_name),
            initialize_config_dir(str(config_dir()), version_base="1.3"),
        ):
            config = hydra_compose(config_name, list(overrides), return_hydra_config=True)
            HydraConfig.instance().cfg = config  # type: ignore[assignment]
            _resolve(config)
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = before
    OmegaConf.set_struct(config, False)
    choices = chosen_options(config.pop("hydra"))
    OmegaConf.set_struct(config, True)
    return config, choices


def _resolve(config: DictConfig) -> None:
    """OmegaConf's `resolve`, with errors that name the setting."""
    try:
        OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        # Hydra's settings depend on ours, and arguments of classes on settings above them.
        for key in sorted(setting_names(config), key=lambda key: (key.startswith("hydra"), key.count("."))):
            try:
                OmegaConf.select(config, key)
            except OmegaConfBaseException as cause:
                raise UserError(f"{key}: {str(cause).splitlines()[0]}; correct its ${{...}}") from error
        raise


def plain(config: DictConfig) -> Plain:
    """A config as dicts, lists and numbers: what checkpoints and results carry."""
    container: Plain = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return container


def chosen_options(hydra: Any) -> dict[str, str | None]:
    """Option of every config group, from a `hydra` node; Hydra leaves out groups with several options."""
    return dict(hydra.runtime.choices)


def typed_overrides(hydra: Any) -> list[str]:
    """Overrides in a `hydra` node as they were typed, with interpolations unresolved.

    Iterating over the list itself would resolve `row=lr-${schedule.lr}` against that config, and every run of a sweep
    would get the same row.
    """
    typed: list[str] = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # type: ignore[assignment]
    return typed


@contextmanager
def readable_config_errors(
    overrides: Sequence[str] = (), *, sweeps: bool = False, command: str = "train"
) -> Iterator[None]:
    """Turn errors of Hydra and OmegaConf about an override or a configuration file into one line.

    Args:
        overrides: as typed; hints are settings of the groups that they choose.
        sweeps: the command takes several values of a setting as several runs.
        command: name of its file in `conf/`.

    Raises:
        UserError: such an error in the block.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError) as error:

        def bare(name: str) -> DictConfig:
            chosen = [override for override in overrides if is_group(override) and "," not in override]
            # Where nothing but groups was chosen, one of them is the wrong override.
            keep = name == command and len(chosen) < len(overrides)
            return compose(*(chosen if keep else ()), config_name=name)

        raise UserError(explain(error, sweeps=sweeps, command=command, bare=bare)) from error
    except ValueError as error:
        if "Config group override must be" not in str(error):
            raise
        raise UserError(_not_an_option(overrides)) from error


def _not_an_option(overrides: Sequence[str]) -> str:
    """One line about a number or true in place of the option of a group."""
    for override in overrides:
        group, _, value = override.lstrip("+").partition("=")
        if is_group(override) and value not in options(group):
            return f"{override}: expected the name of an option; choose one of {', '.join(options(group))}"
    return "a group is set to a value that is not the name of an option; see 'ocnet-train --help'"
