"""Folders of configuration files: the package's `conf/`, and before it those of the user.

The user's folders are listed in the environment variable `OCNET_CONF`, which `--config-dir DIR` of every command
extends: so the runs of a sweep and all other processes of a command find the same files. Python files in them can be
imported, after all installed packages: `_target_: my_head.MyHead` is the class of `DIR/my_head.py`.
"""

import os
import sys
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from ocnet_pl.errors import UserError, readable_os_errors
from ocnet_pl.process import CONF_VARIABLE


def config_dir() -> Path:
    """`conf/`, beside `src/` in a checkout and inside the package in a wheel."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError("ocnet_pl was installed without its configuration: install the wheel or the checkout again")


def own_dirs() -> list[Path]:
    """Folders of the user, in the order in which they are searched.

    Raises:
        UserError: one of them does not exist.
    """
    folders = [Path(text).absolute() for text in os.environ.get(CONF_VARIABLE, "").split(os.pathsep) if text]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder of configuration files; correct --config-dir or {CONF_VARIABLE}")
    return folders


def config_dirs() -> list[Path]:
    """All folders of configuration files, in the order in which they are searched."""
    return [*own_dirs(), config_dir()]


def options(group: str) -> list[str]:
    """Names that a config group takes, the user's own included, e.g. `options("model/head")`."""
    return sorted({path.stem for folder in config_dirs() for path in (folder / group).glob("*.yaml")})


def groups() -> list[str]:
    """Names of all config groups that have options."""
    found = {path.parent.relative_to(folder) for folder in config_dirs() for path in folder.glob("*/**/*.yaml")}
    return sorted(group.as_posix() for group in found)


def is_group(override: str) -> bool:
    """Return whether an override chooses an option of a group, e.g. `model/head=gp`."""
    group = override.lstrip("+~").split("=")[0].split("@")[0]
    return bool(group) and any((folder / group).is_dir() for folder in config_dirs())


def read_yaml(path: Path) -> tuple[str, Any]:
    """Text and content of a configuration file.

    Raises:
        UserError: it cannot be read, or is not YAML.
    """
    try:
        with readable_os_errors(path):
            text = path.read_text(encoding="utf-8")
        return text, yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        line = f" (line {mark.line + 1}: {problem})" if mark else f" ({error})"
        raise UserError(f"{path}: not valid YAML{line}; correct the file") from error


class OwnSearchPath(SearchPathPlugin):
    """Puts the user's folders before the package's wherever Hydra composes, and makes their Python files importable."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra for every search path that it makes."""
        for folder in own_dirs():
            search_path.prepend("ocnet-conf", f"file://{folder}", SearchPathQuery(provider="main"))
            if str(folder) not in sys.path:  # last: a file of the user must not take the place of an installed package
                sys.path.append(str(folder))


Plugins.instance().register(OwnSearchPath)
