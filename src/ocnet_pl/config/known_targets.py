"""Classes and functions that a config from a checkpoint may name: those of this installation's config files.

`hydra.utils.instantiate` calls whatever a `_target_` says. A checkpoint is somebody else's file, so its targets are
compared, place by place, with those of the config files; nothing else in it is interpreted.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ocnet_pl.config.search_path import config_dirs
from ocnet_pl.errors import UserError

_PACKAGE = re.compile(r"^#\s*@package\s+(\S+)", re.MULTILINE)
_SPECIAL = re.compile(r"_.*_")
"""Keys that steer `instantiate`: `_target_`, `_partial_`, `_args_`, `_recursive_`, `_convert_`."""
_MAX_DEPTH = 32

Steering = dict[str, Any]
"""The special keys of one config node."""


def require_known_targets(config: Mapping[str, Any], parts: Sequence[str], source: str) -> None:
    """Refuse a config that is not plain values, or that names a target which no config file names at that place.

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
                said = ", ".join(f"{key}={value}" for key, value in sorted(steering.items())) or "no _target_"
                raise UserError(
                    f"{source}: {place} says {said}, which no config file says there; nothing of it was executed. "
                    "If the class is your own, name it in a config file and give its folder in OCNET_CONF"
                )


def _walk(node: Any, place: str, source: str, depth: int) -> Iterator[tuple[str, Steering]]:
    """Place and special keys of every mapping below a node."""
    if depth > _MAX_DEPTH:
        raise UserError(f"{source}: {place[:80]} is nested too deeply for a config; nothing of it was executed")
    if isinstance(node, dict):
        if not all(isinstance(key, str) for key in node):
            raise UserError(f"{source}: {place} has keys that are not strings; nothing of it was executed")
        yield place, {key: value for key, value in node.items() if _SPECIAL.fullmatch(key)}
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


def _known_steering() -> dict[str, list[Steering]]:
    """Special keys that config files have, by place in the composed config."""
    known: dict[str, list[Steering]] = defaultdict(list)
    for folder in config_dirs():
        for path in sorted(folder.rglob("*.yaml")):
            text = path.read_text(encoding="utf-8")
            node = yaml.safe_load(text)
            for place, steering in _steering_of_file(node, _package(path, folder, text)):
                if steering and steering not in known[place]:
                    known[place].append(steering)
    return known


def _package(path: Path, folder: Path, text: str) -> str:
    """Place of a config file in the composed config: that of its group, unless its header says another."""
    group = ".".join(path.relative_to(folder).parent.parts)
    header = _PACKAGE.search(text)
    if header is None or header[1] == "_group_":
        return group
    return "" if header[1] == "_global_" else header[1]


def _steering_of_file(node: Any, place: str) -> Iterator[tuple[str, Steering]]:
    items: Iterator[tuple[Any, Any]]
    if isinstance(node, dict):
        yield place, {key: value for key, value in node.items() if isinstance(key, str) and _SPECIAL.fullmatch(key)}
        items = iter(node.items())
    else:
        items = iter(enumerate(node)) if isinstance(node, list) else iter(())
    for key, value in items:
        yield from _steering_of_file(value, f"{place}.{key}".removeprefix("."))
