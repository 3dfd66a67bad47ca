"""Evaluation of a checkpoint: on another split, under another protocol, on another machine."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ocnet_pl.config.compose import plain
from ocnet_pl.evaluation_module import EvaluationModule
from ocnet_pl.process import refuse_other_group
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.identity import Plain, config_difference
from ocnet_pl.record.images import Fingerprint, recorded_images, trained_keys
from ocnet_pl.record.result import Evaluation, Result, evaluation_key
from ocnet_pl.run.restoring import Restored, carried_config, compose_again, restore
from ocnet_pl.run.testing import test
from ocnet_pl.run.trainer import build_tester


@dataclass(frozen=True)
class EvaluatedCheckpoint:
    """Scores of a checkpoint, and whether they were added to its run.

    Attributes:
        key: `<checkpoint>/<split>/<protocol>`.
        evaluation: the scores.
        note: file that the scores were added to, or the reason why not.
    """

    key: str
    evaluation: Evaluation
    note: str


def evaluate_checkpoint(path: Path, overrides: Sequence[str]) -> EvaluatedCheckpoint | None:
    """Test a checkpoint, and add the scores to its run's result if they have the run's settings and images.

    Every process of a distributed test calls this; process 0 writes, and only it gets the scores.

    Raises:
        UserError: a checkpoint that cannot be read, or overrides that do not fit it.
    """
    restored = restore(path, overrides, command="evaluate")
    config, data, trained = restored.config, restored.data, restored.checkpoint.config
    refuse_other_group(config.trainer.devices, config.trainer.num_nodes)
    if not any(override.startswith("trainer.precision=") for override in overrides):
        config.trainer.precision = trained.get("trainer", {}).get("precision", config.trainer.precision)
    data.prepare_data()
    images = data.fingerprints([config.split])[config.split]
    module = EvaluationModule(
        restored.predictor.network, restored.predictor.protocol, absent_classes=data.absent_classes
    )
    trainer = build_tester(config, Path(config.outputs))
    key = evaluation_key(path.stem, config.split, restored.protocol)
    run = RunDirectory.of_checkpoint(path)
    reason = _why_not_kept(run, restored, overrides, images, key)
    tested = test(trainer, module, data, config.split, images, trained_keys(run))
    if not trainer.is_global_zero:
        return None
    reason = reason or ("" if tested.whole else f"not added: {len(tested.names)} of {len(images.keys)} images tested")
    if reason:
        return EvaluatedCheckpoint(key, tested.evaluation(), reason)
    with run.claimed():
        result = Result.read(run.result)
        evaluation = tested.keep(run.counts(key))
        replace(result, evaluations={**result.evaluations, key: evaluation}).write(run.result)
    return EvaluatedCheckpoint(key, evaluation, f"added to {run.result}")


def _why_not_kept(
    run: RunDirectory, restored: Restored, overrides: Sequence[str], images: Fingerprint, key: str
) -> str:
    if not run.result.is_file():
        return "not kept: the checkpoint is not in the directory of a finished run"
    if not os.access(run.path, os.W_OK):
        return f"not added to {run.result}: the folder cannot be written; change its permissions and evaluate again"
    trained = _identity(carried_config(restored.checkpoint), restored.checkpoint.config)
    trained["inference"] = _usual_protocol(restored, overrides)
    now = plain(restored.config)
    if difference := config_difference(trained, _identity(now, now)):
        return f"not added to {run.result}: tested with other settings ({'; '.join(difference[:3])})"
    split = str(restored.config.split)
    recorded = recorded_images(run).get(split)
    result = Result.read(run.result)
    known = {recorded.sha256} if recorded else set()
    known |= {one.data for other, one in result.evaluations.items() if other.split("/")[1] == split and one.data}
    if known and images.sha256 not in known:
        return f"not added to {run.result}: tested on other images than the run's own {split!r} ({restored.data.root})"
    if key in result.evaluations:
        return f"{run.result} already has {key}: not changed"
    return ""


def _identity(config: Plain, whole: Plain) -> Plain:
    """The settings that decide a score: network, data set, protocol and precision."""
    parts = {part: config[part] for part in ("dataset", "model", "inference")}
    return {**parts, "precision": whole.get("trainer", {}).get("precision")}


def _usual_protocol(restored: Restored, overrides: Sequence[str]) -> Plain:
    """Settings of a protocol by its name: those of the run, or else those of its file."""
    checkpoint = restored.checkpoint
    if checkpoint.inference == restored.protocol:
        own: Plain = checkpoint.config["inference"]
        return own
    without_settings = [override for override in overrides if not override.startswith("inference.")]
    usual: Plain = plain(compose_again(checkpoint, without_settings, "evaluate")[0])["inference"]
    return usual
