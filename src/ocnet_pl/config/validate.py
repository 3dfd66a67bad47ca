"""Reject config values that Hydra accepts but no run can use."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ocnet_pl.arguments import expect, is_list, is_number, is_whole, written
from ocnet_pl.config.compose import SET_BY_PROGRAM, compose
from ocnet_pl.config.search_path import config_dirs
from ocnet_pl.errors import UserError


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: is_whole(value, least), f"a whole number from {least} up"


LONGEST_NAME = 200
"""Bytes of a folder's name: file systems allow 255, and temporary files lengthen names."""


def _is_folder_name(text: str) -> bool:
    """A folder of this name lies in the folder where it is made, and can be typed, listed and printed."""
    return (
        0 < len(text.encode(errors="replace")) <= LONGEST_NAME
        and text.isprintable()
        and text == text.strip()
        and text[0] not in ".-~"
        and not set(text) & set("/\\")
    )


def _is_folder(value: Any) -> bool:
    return value is not None and _is_folder_name(str(value))


def _is_path_inside(value: Any) -> bool:
    return value is not None and all(_is_folder_name(part) for part in str(value).split("/"))


_NAME = f"up to {LONGEST_NAME} printable characters, not '..', no '.' or '-' first, no space at an end"
_RATE = is_number, "a number from 0 up"
_POSSIBLE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_path_inside, f"the name of a folder below outputs/ ({_NAME})"),
    "row": (_is_folder, f"the name of one folder, without '/' ({_NAME})"),
    "seed": _whole(0),
    "threads": (lambda value: value is None or is_whole(value, 1), "a whole number from 1 up, or null,"),
    "evaluate_on": (
        lambda value: is_list(value) and len(value) > 0 and all(isinstance(split, str) for split in value),
        "a list of splits, e.g. [val],",
    ),
    "split": (lambda value: value is None or isinstance(value, str), "one split, e.g. val,"),
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
    for key, value in _texts(config):
        if value == "~" or value.startswith("~/"):
            raise UserError(f"{key}={value}: '~' is not expanded here; write {key}={Path(value).expanduser()}")
    for name in config.get("trainer") or ():
        if name in SET_BY_PROGRAM:
            raise UserError(f"trainer.{name}: would have no effect; {SET_BY_PROGRAM[name]}")
    for key, (possible, expected) in _POSSIBLE.items():
        value = OmegaConf.select(config, key, default=_ABSENT)
        if value is not _ABSENT:
            expect(key, value, possible(value), expected)


def _texts(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings of a config that are texts, with their full names."""
    for name in node:
        if (key := f"{prefix}{name}") == "hydra" or OmegaConf.is_missing(node, name):
            continue
        value = node[name]
        if isinstance(value, DictConfig):
            yield from _texts(value, f"{key}.")
        elif isinstance(value, str):
            yield key, value


_SWEEP = {"dir": "${outputs}/${name}", "subdir": "${row}/seed-${seed}"}
"""As in `conf/train.yaml`, before they are resolved for each run."""


def refuse_other_places(hydra: Any, run: Path | None = None) -> None:
    """Settings of Hydra that put a run where no report looks for it.

    Args:
        hydra: node of Hydra's own settings.
        run: directory that the run should have; None for the settings of a sweep.

    Raises:
        UserError: such a setting.
    """
    if run is None:
        given = OmegaConf.to_container(hydra.sweep, resolve=False)
        places = [(f"sweep.{key}", given[key], fixed) for key, fixed in _SWEEP.items()]  # type: ignore[index,call-overload]
    else:
        places = [("run.dir", hydra.run.dir, str(run))]
    for name, place, fixed in places:
        if str(place) != fixed:
            raise UserError(
                f"hydra.{name}={place}: a run lies in outputs/name/row/seed, where reports find it; "
                "leave this out and use outputs=, name= and row="
            )
    if hydra.job.chdir:
        raise UserError("hydra.job.chdir=true: paths of a run are relative to where the command starts; leave it out")
    if hydra.output_subdir is not None:
        raise UserError(
            f"hydra.output_subdir={hydra.output_subdir}: a run keeps its config in config.json; leave it out "
            "(outputs=, name= and row= choose the directory)"
        )


def refuse_misfits(config: DictConfig, overrides: Sequence[str]) -> None:
    """Arguments that the class of a node does not take, where an override changed the node: another optimizer, ...

    Args:
        config: of a run.
        overrides: as typed; targets that they do not touch are those of the files.

    Raises:
        UserError: such arguments, with the overrides that remove them; or no such class.
    """
    typed = [override.partition("=")[0] for override in overrides]
    changed = [key.lstrip("+") for key in typed if key.startswith("+") or key.endswith("._target_")]
    for key in sorted({key.rpartition(".")[0] for key in changed if "." in key}):
        node = OmegaConf.select(config, key, default=None)
        if not isinstance(node, DictConfig) or "_target_" not in node:
            continue
        target = node["_target_"]
        try:
            parameters = inspect.signature(resolve_name(target)).parameters
        except Exception:  # in however many ways an import can fail
            raise UserError(f"{key}._target_={target}: no such class or function; check how it is written") from None
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            continue
        hydras = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
        if misfits := [name for name in map(str, node) if name not in parameters and name not in hydras]:
            removing = " ".join(f"~{key}.{name}" for name in misfits)
            raise UserError(f"{key}: {target} does not take {', '.join(misfits)}; remove it with {removing}")


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
            raise UserError(f"{key}={text}: a list is expected, e.g. {written(before)}")
        if isinstance(before, bool) and not isinstance(after, bool) and (key, after) not in _ALSO:
            raise UserError(f"{key}={text}: true or false is expected")
        if isinstance(before, (int, float)) and not isinstance(before, bool) and isinstance(after, (str, bool)):
            raise UserError(f"{key}={text}: a number is expected, e.g. {before}")


_ALSO = {("trainer.deterministic", "warn")}
"""What Lightning takes besides true and false."""


def _group_expected(key: str, text: str) -> str:
    group = key.replace(".", "/")
    if _is_group(group):
        return f"{group} is a group of settings; choose it as {group}={text}"
    return f"{key} is a group of settings; change one of them, e.g. {key}.NAME=VALUE"


def _is_group(override: str) -> bool:
    group = override.lstrip("+~").split("=")[0].split("@")[0]
    return any((folder / group).is_dir() for folder in config_dirs())
