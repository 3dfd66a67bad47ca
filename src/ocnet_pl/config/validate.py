"""Reject config values that Hydra accepts but no run can use."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from ocnet_pl.arguments import ArgumentError, Name, Number, Positive, Whole, checked, written
from ocnet_pl.config.compose import compose
from ocnet_pl.config.explain import SET_BY_PROGRAM, setting_names
from ocnet_pl.config.extras import require_extra
from ocnet_pl.config.search_path import is_group
from ocnet_pl.config.targets import import_target
from ocnet_pl.errors import UserError

LONGEST_NAME = 200
"""Bytes of a folder's name: file systems allow 255, and temporary files lengthen names."""


def validate(
    config: DictConfig, overrides: Sequence[str] = (), compose_again: Callable[..., DictConfig] = compose
) -> None:
    """Check a composed config before anything is built from it.

    Args:
        config: the config of a command.
        overrides: as typed.
        compose_again: composes the config of fewer overrides.

    Raises:
        UserError: the first setting that no run can use.
    """
    _refuse_without_effect(overrides)
    _refuse_other_kinds(config, overrides, compose_again)
    _refuse_misfits(config, overrides)
    _refuse_other_learning_rate(config, overrides, compose_again)
    # Hydra's own node has gaps that it fills in itself.
    if missing := sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra.")):
        raise UserError(f"{missing[0]}: has no value; write {missing[0]}=VALUE, and a list as '{missing[0]}=[a,b]'")
    for key in setting_names(config):
        value = None if key.startswith("hydra") else OmegaConf.select(config, key)
        if isinstance(value, str) and (value == "~" or value.startswith("~/")):
            raise UserError(f"{key}={value}: '~' is not expanded here; write {key}={Path(value).expanduser()}")
    for name in config.get("trainer") or ():
        if name in SET_BY_PROGRAM:
            raise UserError(f"trainer.{name}: would have no effect; {SET_BY_PROGRAM[name]}")
    _check_types(config)
    for name, node in (config.get("logger") or {}).items():
        if isinstance(node, DictConfig) and node.get("_target_") in _OPTIONAL_LOGGERS:
            require_extra(f"logger={name}", *_OPTIONAL_LOGGERS[node._target_])
    if "schedule" in config and not OmegaConf.select(config, "model.head.label"):
        raise UserError("model.head.label: has no value; add 'label: NAME' to the YAML of the head, its name in tables")


_OPTIONAL_LOGGERS = MappingProxyType({"pytorch_lightning.loggers.TensorBoardLogger": ("tensorboard", "tensorboard")})
"""Module and extra of loggers whose package is optional, by target."""


def _refuse_without_effect(overrides: Sequence[str]) -> None:
    """Reject `+max_epochs=3` and the like, which adds a setting that nothing reads."""
    for override in overrides:
        key = override.partition("=")[0]
        if key.startswith("+") and (name := key.lstrip("+")) in SET_BY_PROGRAM and not is_group(override):
            raise UserError(f"{key}: would have no effect; {SET_BY_PROGRAM[name]}")


def _refuse_other_learning_rate(
    config: DictConfig, overrides: Sequence[str], compose_again: Callable[..., DictConfig]
) -> None:
    """Reject an optimizer chosen on the command line with the learning rate that the files have for another one."""
    chosen = [override for override in overrides if is_group(override)]
    others = [override for override in chosen if override.partition("=")[0].lstrip("+") != "optimizer"]
    typed = {override.partition("=")[0].lstrip("+") for override in overrides}
    if len(others) == len(chosen) or typed & {"schedule.lr", "schedule.optimizer.lr"}:
        return
    files = compose_again(*others).schedule
    if files.optimizer._target_ != config.schedule.optimizer._target_ and files.lr == config.schedule.lr:
        override = next(override for override in chosen if override not in others)
        raise UserError(
            f"{override}: the learning rate {files.lr} was set for {files.optimizer._target_}; choose one with "
            "schedule.lr=VALUE"
        )


def _folder_name(text: str) -> str:
    """Check that a name stays inside its folder, and can be typed, listed and printed."""
    if (
        not 0 < len(text.encode(errors="replace")) <= LONGEST_NAME
        or not text.isprintable()
        or text != text.strip()
        or text[0] in ".-~"
        or set(text) & set("/\\")
    ):
        raise PydanticCustomError(
            "folder_name",
            "expected the name of a folder (up to {most} printable characters; no '/', no '.', '-' or '~' first, no "
            "space at an end)",
            {"most": LONGEST_NAME},
        )
    return text


def _folder_path(text: str) -> str:
    return "/".join(map(_folder_name, text.split("/")))


@checked
def _run(
    *,
    name: Annotated[Name, AfterValidator(_folder_path)] = "",
    row: Annotated[Name, AfterValidator(_folder_name)] = "",
    seed: Whole = 0,
    threads: Positive | None = None,
    evaluate_on: Annotated[Sequence[str], Field(min_length=1)] = (),
    split: str | None = None,
) -> None: ...


@checked
def _schedule(
    *,
    max_steps: Whole = 0,  # 0: the network is its parent's
    batch_size: Positive = 1,
    val_every: Positive = 1,
    checkpoint_every: Whole = 0,
    log_every: Whole = 0,
    lr: Number = 0,
    weight_decay: Number = 0,
    head_lr_factor: Number = 0,
) -> None: ...


@checked
def _trainer(*, accumulate_grad_batches: Positive = 1) -> None: ...


_SCHEMAS: Mapping[str, Callable[..., None]] = MappingProxyType({"": _run, "schedule": _schedule, "trainer": _trainer})
"""Types of settings that no class of ours receives, by group; classes check their own arguments."""


def _check_types(config: DictConfig) -> None:
    for group, schema in _SCHEMAS.items():
        node: Any = config.get(group) or {} if group else config
        given = {name: node[name] for name in inspect.signature(schema).parameters if name in node}
        try:
            schema(**given)
        except ArgumentError as error:
            raise UserError(f"{group}.{error}".removeprefix(".")) from None


_SWEEP = MappingProxyType({"dir": "${sweep_folder:${outputs},${name},${rehearsal}}", "subdir": "${row}/seed-${seed}"})
"""Directories of a sweep in `conf/train.yaml`, before they are resolved for each run."""


def refuse_other_places(hydra: Any, run: Path | None = None) -> None:
    """Reject settings of Hydra that put a run where no report looks for it.

    Args:
        hydra: node of Hydra's own settings.
        run: directory that the run should have; None for the settings of a sweep.

    Raises:
        UserError: such a setting.
    """
    if run is None:
        sweep: Any = OmegaConf.to_container(hydra.sweep, resolve=False)
        places = [(f"sweep.{key}", sweep[key], usual) for key, usual in _SWEEP.items()]
    else:
        places = [("run.dir", str(hydra.run.dir), str(run))]
    wrong = [(name, place) for name, place, usual in places if place != usual]
    wrong += [("output_subdir", hydra.output_subdir)] if hydra.output_subdir is not None else []
    if wrong:
        raise UserError(
            f"hydra.{wrong[0][0]}={wrong[0][1]}: a run and its config.json lie in outputs/name/row/seed, where reports "
            "find them; leave this out and use outputs=, name= and row="
        )
    if hydra.job.chdir:
        raise UserError("hydra.job.chdir=true: paths of a run are relative to where the command starts; leave it out")


def _refuse_misfits(config: DictConfig, overrides: Sequence[str]) -> None:
    """Reject arguments that the class of a node does not take, where an override changed the node."""
    typed = [override.partition("=")[0] for override in overrides]
    changed = [key.lstrip("+") for key in typed if key.startswith("+") or key.endswith("._target_")]
    for key in sorted({key.rpartition(".")[0] for key in changed if "." in key}):
        node = OmegaConf.select(config, key, default=None)
        if not isinstance(node, DictConfig) or "_target_" not in node:
            continue
        parameters = inspect.signature(import_target(node, key)).parameters
        if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            continue
        hydras = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
        if misfits := [name for name in map(str, node) if name not in parameters and name not in hydras]:
            removing = " ".join(f"~{key}.{name}" for name in misfits)
            raise UserError(f"{key}: {node._target_} does not take {', '.join(misfits)}; remove it with {removing}")


_REMOVABLE = ("loss.image_weights",)
"""Groups of settings without which a network trains; `~` removes them."""


def _refuse_other_kinds(config: DictConfig, overrides: Sequence[str], compose_again: Callable[..., DictConfig]) -> None:
    """Reject a word where the files have a number, a list or a group; YAML alone would let it through."""
    chosen = [override for override in overrides if is_group(override)]
    if len(chosen) == len(overrides):
        return
    files = compose_again(*chosen)
    for override in overrides:
        key, _, text = override.lstrip("+~").partition("=")
        if override.startswith("~") and key in _REMOVABLE:
            continue
        before, after = (OmegaConf.select(c, key, default=None) for c in (files, config))
        if override not in chosen and (expected := _other_kind(key, text, before, after)):
            raise UserError(f"{key}={text}: {expected}")


def _other_kind(key: str, text: str, before: Any, after: Any) -> str:
    """The expected kind of value, if it differs from that of the files; else empty."""
    if isinstance(before, DictConfig) and not isinstance(after, DictConfig):
        group = key.replace(".", "/")
        if is_group(group):
            return f"{group} is a group of settings; choose it as {group}={text}"
        return f"{key} is a group of settings; change one of them, e.g. {key}.NAME=VALUE"
    if isinstance(before, ListConfig) and not isinstance(after, ListConfig):
        return f"expected a list, e.g. {written(before)}"
    if isinstance(before, bool):
        ok = isinstance(after, bool) or (key, after) in _ALSO
        return "" if ok else "expected true or false"
    if isinstance(before, int | float) and isinstance(after, str | bool):
        return f"expected a number, e.g. {before}"
    return ""


_ALSO = {("trainer.deterministic", "warn")}
"""Words that Lightning takes besides true and false."""
