"""Folders of one's own beside the package's `conf/`, searched before it.

They are listed in the environment variable `OCNET_CONF`, which `--config-dir DIR` of every command extends: so the runs
of a sweep, and whatever else a command starts, find the same files.
"""

import os
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from ocnet_pl.errors import UserError
from ocnet_pl.process import CONF_VARIABLE


def config_dir() -> Path:
    """`conf/`, beside `src/` in a checkout and inside the package in a wheel."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError("ocnet_pl was installed without its configuration: install the wheel or the checkout again")


def own_dirs() -> list[Path]:
    """Folders of one's own, in the order in which they are searched.

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


class OwnSearchPath(SearchPathPlugin):
    """Puts one's own folders before the package's, wherever Hydra composes."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra for every search path that it makes."""
        for folder in own_dirs():
            search_path.prepend("ocnet-conf", f"file://{folder}", SearchPathQuery(provider="main"))


Plugins.instance().register(OwnSearchPath)
