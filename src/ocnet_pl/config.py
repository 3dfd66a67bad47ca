"""Where the configuration is, what it offers, and how a command or a notebook composes it."""

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

from ocnet_pl.errors import UserError
from ocnet_pl.run.identity import Plain


def config_dir() -> Path:
    """`conf/`, beside `src/` in a checkout and inside the package in a wheel."""
    package = Path(__file__).resolve().parent
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError("ocnet_pl was installed without its configuration: install the wheel or the checkout again")


def config_dirs() -> list[Path]:
    """Folders of config files."""
    return [config_dir()]


def options(group: str) -> list[str]:
    """Names that a config group takes, for example `options("model/head")`."""
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def heads() -> list[str]:
    """Names of all context heads: the files of `conf/model/head/` are the registry."""
    return options("model/head")


def compose(*overrides: str, config_name: str = "train") -> DictConfig:
    """The configuration that a command line gives, with every `${hydra:...}` filled in: `compose("model/head=gp")`.

    Raises:
        UserError: an override that does not exist or cannot be.
    """
    return compose_with_choices(*overrides, config_name=config_name)[0]


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
        with readable_config_errors(), initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = hydra_compose(config_name, list(overrides), return_hydra_config=True)
            HydraConfig.instance().cfg = config  # type: ignore[assignment]
            OmegaConf.resolve(config)
    finally:
        GlobalHydra.instance().hydra, HydraConfig.instance().cfg = before
    OmegaConf.set_struct(config, False)
    choices = dict(config.pop("hydra").runtime.choices)
    OmegaConf.set_struct(config, True)
    return config, choices


def plain(config: DictConfig) -> Plain:
    """A config as dicts, lists and numbers: what checkpoints and results carry."""
    container: Plain = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    return container


@contextmanager
def readable_config_errors(*, sweeps: bool = False) -> Iterator[None]:
    """Turns what Hydra and OmegaConf say of a wrong override into one line that tells what to write.

    Args:
        sweeps: the command takes several values of a setting as several runs.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error, sweeps)) from error


def _explain(error: Exception, sweeps: bool) -> str:
    text = str(error)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override!r} is no override: write key=value, with quotes round values that hold spaces or commas"
        )
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
        key = wrong.group(1)
        if "/" in key:
            groups = _groups()
            near = difflib.get_close_matches(key, groups, 1, 0.6)
            return f"{key}: no such group; {f'did you mean {near[0]}? ' if near else ''}there are {', '.join(groups)}"
        return f"{key}: no such setting; {_suggest(key)}see 'ocnet-train --cfg job' for all of them"
    return " ".join(text.split())


def _groups() -> list[str]:
    """Names of all groups that have options."""
    return sorted({path.parent.relative_to(config_dir()).as_posix() for path in config_dir().glob("*/**/*.yaml")})


def _suggest(key: str) -> str:
    keys = list(_keys(compose()))
    tail = key.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(key, keys, 1, 0.6) or [k for k in keys if k.rsplit(".", 1)[-1] == tail][:1]
    return f"did you mean {near[0]}? " if near else ""


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    for name in config:
        yield f"{prefix}{name}"
        node = config._get_node(name)
        if isinstance(node, DictConfig):
            yield from _keys(node, f"{prefix}{name}.")
