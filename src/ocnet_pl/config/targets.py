"""Classes and functions that `_target_` names: imported with a readable error, and restricted for checkpoints.

`hydra.utils.instantiate` calls any `_target_`. A checkpoint may come from a stranger, so its targets are compared,
place by place, with those of the config files; nothing else in it is interpreted.
"""

import re
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ocnet_pl.config.search_path import config_dirs, own_dirs, read_yaml
from ocnet_pl.errors import UserError

_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)", re.MULTILINE)
_SPECIAL = re.compile(r"_.*_")
"""Keys that steer `instantiate`: `_target_`, `_partial_`, `_args_`, `_recursive_`, `_convert_`."""
_MAX_DEPTH = 32

Steering = dict[str, Any]
"""The special keys of one config node."""


def import_target(node: DictConfig, place: str) -> Any:
    """Import the class or function of a config node.

    Args:
        node: with a `_target_`.
        place: full name of the node, for the message.

    Raises:
        UserError: no such module, an error in it, or no such name in it.
    """
    target = str(node._target_)
    try:
        return _locate(target)
    except Exception as error:  # a module can raise anything when it is imported
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
        where = f"; {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
        raise UserError(
            f"{place}._target_={target}: cannot be imported ({type(error).__name__}: {error}{where}); correct the name "
            "or the file, and give the folder of your own files with --config-dir or OCNET_CONF"
        ) from error


def _locate(target: str) -> Any:
    owner, _, name = target.rpartition(".")
    try:
        module = import_module(owner)
    except ModuleNotFoundError as error:
        if error.name != owner or "." not in owner:
            raise
        module = _locate(owner)  # a class, and the target its method
    return getattr(module, name)


def _is_users(file: str) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in own_dirs())


def require_known_targets(config: Mapping[str, Any], parts: Sequence[str], source: str) -> None:
    """Reject a config that is not plain values, or that names a target which no config file names at that place.

    Args:
        config: what the checkpoint carries.
        parts: top-level groups that will be instantiated, e.g. `["model", "dataset"]`.
        source: the file, for the message.

    Raises:
        UserError: such a config; the first place is named.
    """
    known = _known_steering()
    for part in parts:
        node = config.get(part)
        if not isinstance(node, dict) or "defaults" in node:
            raise UserError(f"{source}: its config has no group of plain values {part!r}; nothing of it was executed")
        for place, steering in _walk(node, part, source, 0):
            if steering not in known[place] and (steering or known[place]):
                found = ", ".join(f"{key}={value}" for key, value in sorted(steering.items())) or "no _target_"
                raise UserError(
                    f"{source}: {place} has {found}, which no config file has there; nothing of it was executed. "
                    "If the class is your own, give the folder of its YAML with --config-dir or OCNET_CONF"
                )


def _walk(node: Any, place: str, source: str, depth: int) -> Iterator[tuple[str, Steering]]:
    """Place and special keys of every mapping below a node."""
    if depth > _MAX_DEPTH:
        raise UserError(f"{source}: {place[:80]} is nested too deeply for a config; nothing of it was executed")
    if isinstance(node, dict):
        if not all(isinstance(key, str) for key in node):
            raise UserError(f"{source}: {place} has keys that are not strings; nothing of it was executed")
        yield place, _steering(node)
        for key, value in node.items():
            yield from _walk(value, f"{place}.{key}", source, depth + 1)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _walk(value, f"{place}.{index}", source, depth + 1)
    elif isinstance(node, str):
        if "${" in node or node == "???":
            raise UserError(f"{source}: {place}={node!r} is not a plain value; nothing of it was executed")
    elif node is not None and type(node) not in (bool, int, float):
        raise UserError(f"{source}: {place} is of type {type(node).__name__}, not a plain value")


def _steering(node: Mapping[Any, Any]) -> Steering:
    return {key: value for key, value in node.items() if isinstance(key, str) and _SPECIAL.fullmatch(key)}


def _known_steering() -> dict[str, list[Steering]]:
    """Special keys that config files have, by place in the composed config.

    A defaults list can put the options of a group at another place: `- /model/head@context: asp_oc`. Every option of
    the group is known there, because an override may choose another one.
    """
    known: dict[str, list[Steering]] = defaultdict(list)
    options: dict[str, list[Any]] = defaultdict(list)
    moved: set[tuple[str, str]] = set()
    for folder in config_dirs():
        for path in sorted(folder.rglob("*.yaml")):
            text, node = read_yaml(path)
            group = path.relative_to(folder).parent.as_posix()
            place = _package(group, text)
            options[group].append(node)
            moved.update(_moved_groups(node, group, place))
            _add_steering(known, node, place)
    for group, place in sorted(moved):
        for node in options[group]:
            _add_steering(known, node, place)
    return known


def _add_steering(known: dict[str, list[Steering]], node: Any, place: str) -> None:
    for where, steering in _steering_of_file(node, place):
        if steering and steering not in known[where]:
            known[where].append(steering)


def _moved_groups(node: Any, group: str, place: str) -> Iterator[tuple[str, str]]:
    """Groups that the defaults list of a config file puts at another place than their own, with that place."""
    defaults = node.get("defaults") if isinstance(node, dict) else None
    for entry in defaults if isinstance(defaults, list) else ():
        named = next(iter(entry), "") if isinstance(entry, dict) else str(entry)
        chosen, _, package = str(named).partition("@")
        if not package:
            continue
        of_group = chosen.split()[-1]  # after `override` and `optional`
        if not isinstance(entry, dict):  # `group/option@package`
            of_group = str(Path(of_group).parent)
        of_group = of_group[1:] if of_group.startswith("/") else f"{group}/{of_group}"
        absolute = package.startswith("_global_")
        yield of_group, f"{'' if absolute else place}.{package.removeprefix('_global_').strip('.')}".strip(".")


def _package(group: str, text: str) -> str:
    """Place of a config file in the composed config: that of its group, unless its header names another."""
    header = _PACKAGE.search(text)
    if header is None or header[1] == "_group_":
        return group.strip(".").replace("/", ".")
    return "" if header[1] == "_global_" else header[1]


def _steering_of_file(node: Any, place: str) -> Iterator[tuple[str, Steering]]:
    if isinstance(node, dict):
        yield place, _steering(node)
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield from _steering_of_file(value, f"{place}.{key}".removeprefix("."))
