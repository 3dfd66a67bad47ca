"""Identity of a run: the settings in its config that determine its numbers."""

import hashlib
import json
from collections.abc import Iterator
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


def config_hash(config: Plain) -> str:
    """Hash of the settings that determine a run's numbers, in twelve hexadecimal digits."""
    return hashlib.sha256(json.dumps(dict(_scientific(config)), sort_keys=True).encode()).hexdigest()[:12]


def config_difference(before: Plain, after: Plain) -> list[str]:
    """Lines `key: old -> new` for the settings in which two configs give different numbers."""
    old, new = dict(_scientific(before)), dict(_scientific(after))
    keys = [*old, *(key for key in new if key not in old)]
    return [f"{key}: {old.get(key)} -> {new.get(key)}" for key in keys if old.get(key) != new.get(key)]


def _scientific(config: Plain, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        key = f"{prefix}{name}"
        if key in MACHINE_KEYS:
            continue
        if isinstance(value, dict):
            yield from _scientific(value, f"{key}.")
        else:
            yield key, value
