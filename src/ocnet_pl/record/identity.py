"""Identity of a run: the settings in its config that determine its numbers."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

Plain = dict[str, Any]
"""Resolved config of dicts, lists, strings and numbers."""

MACHINE_KEYS = (
    "dataset.root",
    "dataset.num_workers",
    "dataset.cache",
    "logger",
    "outputs",
    "trainer.enable_progress_bar",
)
"""Settings that do not affect results: left out of the hash."""

ADDED_KEYS: Mapping[str, Any] = MappingProxyType(
    {
        "rehearsal": False,
        "dataset.absent_classes": "skip",
        "dataset.disparity": False,
        "dataset.poses": False,
        "schedule.head_lr_factor": 1.0,
    }
)
"""Settings that older versions lacked, with the value that those versions had in effect. A config without the setting
equals one with this value, and has its hash. Today's default is not asked: it may be another than what the code did."""


def config_hash(config: Plain) -> str:
    """Hash of the settings that determine a run's numbers, in twelve hexadecimal digits."""
    return hashlib.sha256(json.dumps(dict(_scientific(config)), sort_keys=True).encode()).hexdigest()[:12]


def config_difference(before: Plain, after: Plain) -> list[str]:
    """Lines `key: old -> new` for the settings in which two configs give different numbers."""
    old, new = dict(_scientific(before)), dict(_scientific(after))
    keys = [*old, *(key for key in new if key not in old)]
    pairs = [(key, *(of.get(key, ADDED_KEYS.get(key)) for of in (old, new))) for key in keys]
    return [f"{key}: {was} -> {now}" for key, was, now in pairs if was != now]


def _scientific(config: Plain, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in MACHINE_KEYS or (key in ADDED_KEYS and value == ADDED_KEYS[key]):
            continue
        if isinstance(value, dict):
            yield from _scientific(value, f"{key}.")
        else:
            yield key, value
