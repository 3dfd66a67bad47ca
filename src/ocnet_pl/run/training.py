"""One run: from its config to its `result.json`."""

from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback, WeightAveraging

from ocnet_pl.checkpoint import load_weights, read_checkpoint
from ocnet_pl.config.compose import plain
from ocnet_pl.process import is_process_zero
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.images import recorded_images, refuse_other_images
from ocnet_pl.record.result import evaluation_key
from ocnet_pl.run.attempt import attempt
from ocnet_pl.run.concluding import conclude
from ocnet_pl.run.preparing import Prepared, prepare, prepare_data
from ocnet_pl.run.testing import TestCounts, test


def train_once(config: DictConfig, directory: Path, choices: dict[str, str | None], overrides: list[str]) -> None:
    """Train the run of a directory, unless it is already finished; process 0 prints which.

    Raises:
        UserError: as `train`, or the finished run had another config or other images.
    """
    run = RunDirectory(directory)
    finished = run.result.is_file()  # no process waits for the others then
    if not finished:
        train(config, run, choices, overrides)
    if is_process_zero():
        if finished:
            run.refuse_other_config(plain(config))
            _refuse_changed_data(config, run)
        message = f"{run.path}: already finished; delete it or choose another name= to train again"
        print(message if finished else f"finished: {run.result}")


def train(config: DictConfig, run: RunDirectory, choices: dict[str, str | None], overrides: list[str]) -> None:
    """Train, test and write `result.json`; resume from the last checkpoint if one exists.

    Every process of a distributed run calls this; process 0 writes.

    Raises:
        UserError: wrong input, a training that diverged, or a directory that holds another run.
    """
    with attempt(run, config), ExitStack() as until_the_end:
        prepared = prepare(config, run, choices, until_the_end)
        tested = _fit(prepared)
        if prepared.trainer.is_global_zero:
            conclude(prepared, tested, overrides)


def _fit(prepared: Prepared) -> dict[str, TestCounts]:
    """Train, save and test; the counts of every test by the key of its evaluation."""
    config, run, trainer, module = prepared.config, prepared.run, prepared.trainer, prepared.module
    if config.schedule.max_steps:  # else the network is its parent's
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(callback, WeightAveraging) for callback in callbacks):
            module.to(trainer.strategy.root_device)  # Lightning keeps the average where the network is at first
        checkpoint = run.last_checkpoint if prepared.resumes else None
        trainer.fit(module, datamodule=prepared.data, ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(run.last_checkpoint)
        if config.rehearsal:  # resumes at the last step: all that is saved is loaded
            trainer.fit(module, datamodule=prepared.data, ckpt_path=run.last_checkpoint, weights_only=True)
        # What is tested is what is saved, also where a callback saves other weights than the network's.
        load_weights(module.network, read_checkpoint(run.last_checkpoint))
    protocol = str(prepared.choices["inference"])
    tested = {
        evaluation_key("last", split, protocol): test(
            trainer, module, prepared.data, split, prepared.images[split], prepared.trained
        )
        for split in config.evaluate_on
    }
    if not config.schedule.max_steps:
        trainer.save_checkpoint(run.last_checkpoint)  # its parent's weights with this row's protocol
    return tested


def _refuse_changed_data(config: DictConfig, run: RunDirectory) -> None:
    """Refuse a finished run as the result of this command when its data set holds other images now.

    Raises:
        UserError: other images, or no data set.
    """
    if recorded_images(run):
        refuse_other_images(run, prepare_data(config)[1])
