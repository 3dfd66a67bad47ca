"""Configs of older checkpoints in today's names, with explicit values where a default has changed since."""

from collections.abc import Mapping
from types import MappingProxyType

from ocnet_pl.record.identity import Plain

RENAMED: Mapping[str, str] = MappingProxyType({"ocnet_pl.model.ocnet.OCNet": "ocnet_pl.model.network.Network"})
"""Targets of networks, data sets and protocols: old name -> name today."""

_OLD_DEFAULTS = (
    ("ocnet_pl.model.head.", "share_query_key", "key_momentum", 0.1),  # today 0.19 where the key is absent
    ("ocnet_pl.dataset.", "root", "absent_classes", "skip"),  # today "zero" on ADE20K
)
"""Nodes whose target starts with the first and which have the second key: value of the third where it is absent."""


def modernised(config: Plain) -> Plain:
    """Translate the groups that a checkpoint is built from; unknown content stays as it is, and nothing is built.

    Version 0.1.0 lacked two keys and did other than their defaults say today: such a config gets the values of then.
    """
    groups = {group: _translated(node) for group, node in config.items()}
    if isinstance(model := groups.get("model"), dict):
        groups["model"] = {name: _translated(part) for name, part in model.items()}
    return groups


def _translated(node: object) -> object:
    if not isinstance(node, dict) or not isinstance(target := node.get("_target_"), str):
        return node
    translated = node | {"_target_": RENAMED.get(target, target)}
    for package, mark, key, value in _OLD_DEFAULTS:
        if target.startswith(package) and mark in node:
            translated.setdefault(key, value)
    return translated
