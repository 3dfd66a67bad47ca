"""A checkpoint, tested again: on another split, under another protocol, on another machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocnet_pl.build import build_data, build_module, build_trainer
from ocnet_pl.config import plain
from ocnet_pl.run.checkpoint import load_weights, read_checkpoint
from ocnet_pl.run.directory import RunDirectory
from ocnet_pl.run.identity import Plain, config_difference
from ocnet_pl.run.restoring import compose_again, refuse_other_classes
from ocnet_pl.run.result import Evaluation, Result, evaluation_key
from ocnet_pl.run.testing import test


@dataclass(frozen=True)
class Outcome:
    """Scores of a checkpoint, and what became of them.

    Attributes:
        key: `<checkpoint>/<split>/<protocol>`.
        evaluation: the scores.
        note: whether and where they were kept.
    """

    key: str
    evaluation: Evaluation
    note: str


def evaluate_checkpoint(path: Path, overrides: Sequence[str]) -> Outcome | None:
    """Tests a checkpoint and adds the scores to its run's result, where they belong there.

    Every process of a distributed test calls this; process 0 writes, and only it learns the outcome.

    Raises:
        UserError: a checkpoint that cannot be read, or overrides that do not fit it.
    """
    content = read_checkpoint(path)
    config, choices = compose_again(path, content, overrides, config_name="evaluate")
    config.model.backbone.pretrained = False
    config.model.backbone.weights = None
    if not any(override.startswith("trainer.precision=") for override in overrides):
        config.trainer.precision = content["config"]["trainer"]["precision"]
    data = build_data(config)
    refuse_other_classes(path, content, data)
    data.prepare_data()
    data.pairs(config.split)
    module = build_module(config, data)
    load_weights(module.network, content, path)
    trainer = build_trainer(config, [], False, Path(config.outputs))
    key = evaluation_key(path.stem, config.split, choices["inference"])
    run = RunDirectory.of_checkpoint(path)
    protocol = _usual_protocol(path, content, overrides, choices["inference"])
    reason = _why_not_kept(run, content, plain(config), protocol, key)
    tested = test(trainer, module, data, config.split)
    if not trainer.is_global_zero:
        return None
    if reason:
        return Outcome(key, tested.evaluation(), reason)
    with run.claimed():
        result = Result.read(run.result)
        evaluation = tested.keep(run.counts(key))
        replace(result, evaluations={**result.evaluations, key: evaluation}).write(run.result)
    return Outcome(key, evaluation, f"added to {run.result}")


def _usual_protocol(path: Path, content: dict[str, Any], overrides: Sequence[str], choice: str) -> Plain:
    """What the name of a protocol stands for: the run's own settings of it, or else those of its file."""
    if content["choices"]["inference"] == choice:
        own: Plain = content["config"]["inference"]
        return own
    plainly = [override for override in overrides if not override.startswith("inference.")]
    usual: Plain = plain(compose_again(path, content, plainly, config_name="evaluate")[0])["inference"]
    return usual


def _why_not_kept(run: RunDirectory, content: dict[str, Any], config: Plain, protocol: Plain, key: str) -> str:
    if not run.result.is_file():
        return "not kept: the checkpoint lies in no finished run"
    if not os.access(run.path, os.W_OK):
        return f"not added to {run.result}: the folder cannot be written; change its permissions and evaluate again"
    trained = {**content["config"], "inference": protocol}
    trained, config = ({**c, "precision": c["trainer"]["precision"]} for c in (trained, config))
    for part in ("dataset", "model", "inference", "precision"):
        before, now = ({part: c[part]} for c in (trained, config))
        # A local weights file only initialises; the checkpoint's weights replace it.
        if difference := [d for d in config_difference(before, now) if "pretrained" not in d and "weights" not in d]:
            return f"not added to {run.result}: tested with settings of its own ({'; '.join(difference[:3])})"
    if key in Result.read(run.result).evaluations:
        return f"{run.result} has {key} already: kept as it was"
    return ""
