"""Everything that a run is made of, before its first step."""

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, Timer
from pytorch_lightning.loggers import CSVLogger

from ocnet_pl.build import build_data, build_module
from ocnet_pl.checkpoint import CheckpointConfig, checkpoint_callbacks, load_weights, read_checkpoint
from ocnet_pl.config.compose import plain
from ocnet_pl.dataset.cautions import cautions
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.errors import UserError
from ocnet_pl.module import SegmentationModule
from ocnet_pl.process import START_VARIABLE, is_process_zero
from ocnet_pl.record.curves import log_version, start_of
from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.identity import config_hash
from ocnet_pl.record.images import Fingerprint, Keys, record_images, record_trained, refuse_other_images
from ocnet_pl.record.result import Result
from ocnet_pl.run.advice import print_advice
from ocnet_pl.run.callbacks.divergence import StopOnDivergence
from ocnet_pl.run.callbacks.early_end import StaysEnded
from ocnet_pl.run.callbacks.missed_validation import MissedValidation
from ocnet_pl.run.callbacks.process_group import SameConfigEverywhere
from ocnet_pl.run.callbacks.progress import TrainingProgress
from ocnet_pl.run.callbacks.repeated_batches import RepeatedBatches
from ocnet_pl.run.callbacks.step_metrics import StepMetrics
from ocnet_pl.run.callbacks.stopping import StopAfterStep
from ocnet_pl.run.rehearsal import EVERY
from ocnet_pl.run.trainer import build_callbacks, build_loggers, build_trainer


@dataclass(frozen=True)
class Prepared:
    """Everything that a run is made of, before its first step.

    Attributes:
        config: config of the run.
        run: its directory.
        choices: option chosen in every config group.
        data: the data set.
        images: fingerprints of all splits that the run reads.
        trained: keys of the images that its network is trained on; None: not known, or not process 0.
        module: network and losses.
        trainer: the Trainer.
        timer: seconds of training, over all starts.
        resumes: True when a checkpoint exists.
    """

    config: DictConfig
    run: RunDirectory
    choices: Mapping[str, str | None]
    data: SegmentationDataModule
    images: Mapping[str, Fingerprint]
    trained: Keys | None
    module: SegmentationModule
    trainer: Trainer
    timer: Timer
    resumes: bool


def prepare(
    config: DictConfig, run: RunDirectory, choices: dict[str, str | None], until_the_end: ExitStack
) -> Prepared:
    """Build and check everything; loggers are closed with `until_the_end`."""
    if config.threads:
        torch.set_num_threads(config.threads)
    data, images = prepare_data(config)
    refuse_other_images(run, images)
    module = build_module(config, data)
    start = read_checkpoint(run.last_checkpoint).step if run.last_checkpoint.is_file() else 0
    parent = run.sibling(config.parent) if config.parent else None
    if parent and not start:
        _start_from_parent(module, parent, rehearsal=config.rehearsal)
    timer = Timer(config.trainer.get("max_time"), verbose=False)  # beside it Lightning ignores its own `max_time`
    loggers = [until_the_end.enter_context(logger) for logger in build_loggers(config, run.path)]
    callbacks = _callbacks(config, run, choices, data)
    trainer = build_trainer(config, [timer, *callbacks], [_csv_logger(run, start), *loggers], run.path)
    data.micro_batch_size(trainer.world_size, trainer.accumulate_grad_batches)  # fails before any process starts
    trained = None
    if is_process_zero():
        if START_VARIABLE not in os.environ:  # else the sweep has said it
            print_advice(config)
        for line in cautions(data):
            print(f"ocnet-train: warning: {line}", file=sys.stderr, flush=True)
        record_images(run, images)
        trained = record_trained(run, images[data.train_split] if config.schedule.max_steps else None, parent)
    return Prepared(config, run, choices, data, images, trained, module, trainer, timer, resumes=start > 0)


def _callbacks(
    config: DictConfig, run: RunDirectory, choices: dict[str, str | None], data: SegmentationDataModule
) -> list[Callback]:
    resolved, schedule = plain(config), config.schedule
    validates, saves = (EVERY, EVERY) if config.rehearsal else (schedule.val_every, schedule.checkpoint_every)
    callbacks = [
        *build_callbacks(config),  # their state of a step is complete before ours save it
        StopAfterStep(run.last_checkpoint),  # before what may take long
        CheckpointConfig(resolved, choices, data.classes),
        StopOnDivergence(schedule.log_every),  # before anything is saved
        SameConfigEverywhere(config_hash(resolved)),
        MissedValidation(validates),
        RepeatedBatches(),
        StaysEnded(),
        StepMetrics(schedule.batch_size, 1 if config.rehearsal else schedule.log_every),
        *checkpoint_callbacks(run.checkpoints, saves),
    ]
    if config.trainer.enable_progress_bar:
        callbacks.append(TrainingProgress(schedule.batch_size, schedule.max_steps))
    return callbacks


def prepare_data(config: DictConfig) -> tuple[SegmentationDataModule, dict[str, Fingerprint]]:
    """The data set, and the fingerprints of all splits that a run reads.

    Raises:
        UserError: files are missing: reported now, not after the first hour.
    """
    data = build_data(config)
    data.prepare_data()
    return data, data.fingerprints([data.train_split, data.val_split, *config.evaluate_on])


def _start_from_parent(module: SegmentationModule, parent: RunDirectory, *, rehearsal: bool = False) -> None:
    """Load the weights of the finished run that this one starts from.

    Args:
        module: network and losses.
        parent: that run.
        rehearsal: this run is a rehearsal, which may start from another one.

    Raises:
        UserError: it is not finished, or only a rehearsal.
    """
    if (state := parent.state()) is not State.DONE:
        raise UserError(f"{parent.path}: this run starts from it, but its state is {state}; train that row first")
    if (short := Result.read(parent.result).rehearsal) and not rehearsal:
        raise UserError(f"{parent.path}: this run starts from it, but it is a rehearsal ({short[0]}); train it fully")
    load_weights(module.network, read_checkpoint(parent.last_checkpoint))


def _csv_logger(run: RunDirectory, start: int) -> CSVLogger:
    version = log_version(start)
    if is_process_zero():
        # The resumed run logs these steps again, with the same values.
        for later in run.logs.glob("step-*"):
            if (of_later := start_of(later)) is not None and of_later >= start:
                shutil.rmtree(later)
    return CSVLogger(run.path, name=run.logs.name, version=version, flush_logs_every_n_steps=1)
