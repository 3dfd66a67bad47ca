"""Values that compose, and that no run can have: refused before anything starts."""

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ocnet_pl.config import compose, config_dir
from ocnet_pl.errors import UserError
from ocnet_pl.expect import expect, is_list, is_number, is_whole, written


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: is_whole(value, least), f"a whole number from {least} up"


def _stays_inside(value: Any) -> bool:
    """A folder of this name lies in the folder where it is made."""
    path = PurePath(str(value))
    return value is not None and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _is_folder(value: Any) -> bool:
    return _stays_inside(value) and len(PurePath(str(value)).parts) == 1


_NAME = "a name of a folder below outputs/, without '..'"
_RATE = is_number, "a number from 0 up"
_POSSIBLE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_stays_inside, _NAME),
    "row": (_is_folder, "a name of one folder, without '/',"),
    "seed": _whole(0),
    "threads": (lambda value: value is None or is_whole(value, 1), "a whole number from 1 up, or null,"),
    "evaluate_on": (
        lambda value: is_list(value) and len(value) > 0 and all(isinstance(split, str) for split in value),
        "a list of splits, as [val],",
    ),
    "split": (lambda value: value is None or isinstance(value, str), "one split, as val,"),
    "schedule.max_steps": _whole(0),  # 0: the network is its parent's
    "schedule.batch_size": _whole(1),
    "schedule.val_every": _whole(1),
    "schedule.checkpoint_every": _whole(0),
    "schedule.log_every": _whole(0),
    "schedule.lr": _RATE,
    "schedule.weight_decay": _RATE,
    "trainer.accumulate_grad_batches": _whole(1),
}
"""What belongs to no class of ours; those check in their constructors what is theirs."""

_ABSENT = object()


def refuse_impossible(config: DictConfig) -> None:
    """Settings without a value, and values that no run can have.

    Raises:
        UserError: the first of them.
    """
    # Hydra's own node has gaps that it fills in itself.
    if missing := sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra.")):
        raise UserError(f"{missing[0]}: has no value; write {missing[0]}=VALUE, and a list as '{missing[0]}=[a,b]'")
    for key, (possible, expected) in _POSSIBLE.items():
        value = OmegaConf.select(config, key, default=_ABSENT)
        if value is not _ABSENT:
            expect(key, value, possible(value), expected)


def refuse_other_kinds(
    config: DictConfig, overrides: Sequence[str], compose_again: Callable[..., DictConfig] = compose
) -> None:
    """A word where the files have a number, a list or a group is a slip of the pen; YAML alone would let it through.

    Args:
        overrides: what the config was composed with.
        compose_again: gives the config of fewer overrides.

    Raises:
        UserError: such an override.
    """
    files = compose_again(*(override for override in overrides if _is_group(override)))
    for override in overrides:
        key, _, text = override.lstrip("+~").partition("=")
        if _is_group(override):
            continue
        before, after = (OmegaConf.select(c, key, default=None) for c in (files, config))
        if isinstance(before, DictConfig) and not isinstance(after, DictConfig):
            raise UserError(f"{key}={text}: {_group_expected(key, text)}")
        if isinstance(before, ListConfig) and not isinstance(after, ListConfig):
            raise UserError(f"{key}={text}: a list is expected, as {written(before)}")
        if isinstance(before, bool) and not isinstance(after, bool) and (key, after) not in _ALSO:
            raise UserError(f"{key}={text}: true or false is expected")
        if isinstance(before, (int, float)) and not isinstance(before, bool) and isinstance(after, (str, bool)):
            raise UserError(f"{key}={text}: a number is expected, as {before}")


_ALSO = {("trainer.deterministic", "warn")}
"""What Lightning takes besides true and false."""


def _group_expected(key: str, text: str) -> str:
    group = key.replace(".", "/")
    if _is_group(group):
        return f"{group} is a group of settings; choose it as {group}={text}"
    return f"{key} is a group of settings; change one of them, as {key}.NAME=VALUE"


def _is_group(override: str) -> bool:
    return (config_dir() / override.lstrip("+~").split("=")[0].split("@")[0]).is_dir()
