"""One run: from its config to its `result.json`."""

import errno
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.loggers import CSVLogger

from ocnet_pl.build import build_data, build_loggers, build_module, build_trainer
from ocnet_pl.config import plain
from ocnet_pl.dataset.cautions import cautions
from ocnet_pl.errors import UserError
from ocnet_pl.module import SegmentationModule
from ocnet_pl.rendering.text import percent
from ocnet_pl.run import provenance
from ocnet_pl.run.checkpoint import CheckpointConfig, checkpoint_callbacks, load_weights, read_checkpoint
from ocnet_pl.run.curves import log_version, read_curves
from ocnet_pl.run.directory import RunDirectory, State, write_json
from ocnet_pl.run.identity import config_hash
from ocnet_pl.run.missed_validation import MissedValidation
from ocnet_pl.run.progress import TrainingProgress
from ocnet_pl.run.result import Result, evaluation_key
from ocnet_pl.run.samples import write_samples
from ocnet_pl.run.stopping import SameConfigEverywhere, StopAfterStep
from ocnet_pl.run.testing import test


def train(config: DictConfig, run: RunDirectory, choices: dict[str, str], overrides: list[str]) -> None:
    """Trains, tests and writes `result.json`; reads on from the last checkpoint where there is one.

    Every process of a distributed run calls this; process 0 writes.

    Raises:
        UserError: wrong input, or a directory that holds a run of another config.
    """
    with _attempt(run, config), ExitStack() as until_the_end:
        resolved = plain(config)
        if config.threads:
            torch.set_num_threads(config.threads)
        data = build_data(config)
        data.prepare_data()
        for split in {data.train_split, data.val_split, *config.evaluate_on}:
            data.pairs(split)  # missing files are told now, not after the first hour
        if is_process_zero():
            for line in cautions(data):
                print(f"ocnet-train: warning: {line}", file=sys.stderr, flush=True)
        module = build_module(config, data)
        start = _step_of(run)
        if config.parent and not start:
            start_from_parent(module, run.sibling(config.parent))
        timer = Timer(verbose=False)
        callbacks = [
            timer,
            StopAfterStep(run.last_checkpoint),  # before what may take long
            CheckpointConfig(resolved, choices, data.classes),
            SameConfigEverywhere(config_hash(resolved)),
            MissedValidation(config.schedule.val_every),
            *checkpoint_callbacks(run.checkpoints, config.schedule.checkpoint_every),
        ]
        if config.trainer.enable_progress_bar:
            callbacks.append(TrainingProgress(config.schedule.batch_size, config.schedule.max_steps))
        mirrors = [until_the_end.enter_context(logger) for logger in build_loggers(config, run.path)]
        trainer = build_trainer(config, callbacks, [_csv_logger(run, start), *mirrors], run.path)
        data.micro_batch_size(trainer.world_size, trainer.accumulate_grad_batches)  # fails before any process starts
        if config.schedule.max_steps:  # else its network is its parent's
            trainer.fit(module, datamodule=data, ckpt_path=run.last_checkpoint if start else None, weights_only=True)
            trainer.save_checkpoint(run.last_checkpoint)
        tested = {
            evaluation_key("last", split, choices["inference"]): test(trainer, module, data, split)
            for split in config.evaluate_on
        }
        if not config.schedule.max_steps:
            trainer.save_checkpoint(run.last_checkpoint)  # its parent's weights with this row's protocol
        if not trainer.is_global_zero:
            return
        network = module.network.eval().to(trainer.strategy.root_device)
        result = Result(
            table=config.name,
            row=config.row,
            seed=config.seed,
            choices=choices,
            overrides=overrides,
            config=resolved,
            config_hash=config_hash(resolved),
            commit=provenance.commit(),
            packages=provenance.packages(),
            device=provenance.device_name(trainer.strategy.root_device),
            processes=trainer.world_size,
            seconds=round(timer.time_elapsed("train"), 3),
            peak_memory=provenance.peak_memory(trainer.strategy.root_device),
            steps=trainer.global_step,
            weights_sha256=provenance.weights_sha256(network),
            parameters=provenance.parameter_counts(network),
            evaluations={key: one.keep(run.counts(key)) for key, one in tested.items()},
            curves=read_curves(run.logs),
            samples=write_samples(network, data, run.samples),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        result.write(run.result)
        for key, evaluation in result.evaluations.items():
            print(f"{key}: mIoU {percent(evaluation.miou)} %", flush=True)


def start_from_parent(module: SegmentationModule, parent: RunDirectory) -> None:
    """Takes the weights of the finished run that this one builds on.

    Raises:
        UserError: it is not finished.
    """
    if parent.state() is not State.DONE:
        raise UserError(f"{parent.path}: this run starts from it, but it is {parent.state()}; train that row first")
    load_weights(module.network, read_checkpoint(parent.last_checkpoint), parent.last_checkpoint)


@contextmanager
def _attempt(run: RunDirectory, config: DictConfig) -> Iterator[None]:
    """Holds the run's directory during an attempt, and leaves in it what the attempt died of."""
    if not is_process_zero():
        yield
        return
    with run.claimed():
        run.refuse_other_config(plain(config))
        run.failure.unlink(missing_ok=True)
        write_json(run.started, plain(config))
        try:
            yield
        except Exception as error:
            message = str(error) or type(error).__name__
            with suppress(OSError):  # where the disk is full; the launcher tells
                write_json(run.failure, {"error": message, "traceback": traceback.format_exc()})
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(f"{run.path}: {error.strerror}; make room, and the same command goes on") from error
            raise


def is_process_zero() -> bool:
    """Of a distributed run, before there is a process group."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def _step_of(run: RunDirectory) -> int:
    """Steps done by the last checkpoint; 0 where there is none."""
    if not run.last_checkpoint.is_file():
        return 0
    return int(read_checkpoint(run.last_checkpoint)["global_step"])


def _csv_logger(run: RunDirectory, start: int) -> CSVLogger:
    version = log_version(start)
    if is_process_zero():
        # What an earlier attempt logged from here on is repeated, value by value.
        for later in run.logs.glob("step-*"):
            if later.name >= version:
                shutil.rmtree(later)
    return CSVLogger(run.path, name=run.logs.name, version=version, flush_logs_every_n_steps=1)
