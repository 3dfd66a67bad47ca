"""A checkpoint, tested again: on another split, under another protocol, on another machine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocnet_pl.build import build_data, build_module, build_trainer
from ocnet_pl.config import plain
from ocnet_pl.run.checkpoint import load_weights, read_checkpoint
from ocnet_pl.run.directory import RunDirectory
from ocnet_pl.run.identity import config_difference
from ocnet_pl.run.restoring import compose_again, refuse_other_classes
from ocnet_pl.run.result import Evaluation, Result, evaluation_key
from ocnet_pl.run.training import evaluate


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


def evaluate_checkpoint(path: Path, overrides: Sequence[str]) -> Outcome:
    """Tests a checkpoint and adds the scores to its run's result, where they belong there.

    Raises:
        UserError: a checkpoint that cannot be read, or overrides that do not fit it.
    """
    content = read_checkpoint(path)
    config, choices = compose_again(path, content, overrides, config_name="evaluate")
    config.model.backbone.pretrained = False
    config.model.backbone.weights = None
    data = build_data(config)
    refuse_other_classes(path, content, data)
    data.prepare_data()
    data.pairs(config.split)
    module = build_module(config, data)
    load_weights(module.network, content, path)
    trainer = build_trainer(config, [], False, Path(config.outputs))
    key = evaluation_key(path.stem, config.split, choices["inference"])
    run = RunDirectory(path.parent.parent)
    if reason := _why_not_kept(run, content, plain(config), key):
        return Outcome(key, evaluate(trainer, module, data, config.split), reason)
    evaluation = evaluate(trainer, module, data, config.split, run.path / f"counts-{key.replace('/', '-')}.npz")
    with run.claimed():
        result = Result.read(run.result)
        replace(result, evaluations={**result.evaluations, key: evaluation}).write(run.result)
    return Outcome(key, evaluation, f"added to {run.result}")


def _why_not_kept(run: RunDirectory, content: dict[str, Any], config: dict[str, Any], key: str) -> str:
    if not run.result.is_file():
        return "not kept: the checkpoint lies in no finished run"
    for part in ("dataset", "model"):
        before, now = ({part: c[part]} for c in (content["config"], config))
        # A local weights file only initialises; the checkpoint's weights replace it.
        if difference := [d for d in config_difference(before, now) if "pretrained" not in d and "weights" not in d]:
            return f"not added to {run.result}: tested with other settings than the run's ({'; '.join(difference[:3])})"
    if key in Result.read(run.result).evaluations:
        return f"{run.result} has {key} already: kept as it was"
    return ""
