"""One run: from its config to its `result.json`."""

import errno
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import Callback, Timer, WeightAveraging
from pytorch_lightning.loggers import CSVLogger

from ocnet_pl.build import build_data, build_module
from ocnet_pl.checkpoint import CheckpointConfig, checkpoint_callbacks, load_weights, read_checkpoint
from ocnet_pl.config.compose import plain
from ocnet_pl.dataset.cautions import cautions
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.drawing.numbers import percent
from ocnet_pl.errors import UserError
from ocnet_pl.module import SegmentationModule
from ocnet_pl.predictor import Predictor
from ocnet_pl.process import is_process_zero
from ocnet_pl.record.curves import Curves, log_version, read_curves, start_of
from ocnet_pl.record.directory import RunDirectory, State
from ocnet_pl.record.identity import config_hash
from ocnet_pl.record.images import (
    Fingerprint,
    Keys,
    record_images,
    record_trained,
    recorded_images,
    refuse_other_images,
)
from ocnet_pl.record.result import Result, evaluation_key
from ocnet_pl.record.sealed import write_json
from ocnet_pl.run import provenance
from ocnet_pl.run.callbacks.divergence import StopOnDivergence
from ocnet_pl.run.callbacks.early_end import StaysEnded
from ocnet_pl.run.callbacks.missed_validation import MissedValidation
from ocnet_pl.run.callbacks.process_group import SameConfigEverywhere
from ocnet_pl.run.callbacks.progress import TrainingProgress
from ocnet_pl.run.callbacks.repeated_batches import RepeatedBatches
from ocnet_pl.run.callbacks.step_metrics import StepMetrics
from ocnet_pl.run.callbacks.stopping import StopAfterStep
from ocnet_pl.run.rehearsal import EVERY
from ocnet_pl.run.samples import write_samples
from ocnet_pl.run.testing import TestCounts, test
from ocnet_pl.run.trainer import build_callbacks, build_loggers, build_trainer


@dataclass(frozen=True)
class _Prepared:
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
            refuse_changed_data(config, run)
        message = f"{run.path}: already finished; delete it or choose another name= to train again"
        print(message if finished else f"finished: {run.result}")


def train(config: DictConfig, run: RunDirectory, choices: dict[str, str | None], overrides: list[str]) -> None:
    """Train, test and write `result.json`; resume from the last checkpoint if one exists.

    Every process of a distributed run calls this; process 0 writes.

    Raises:
        UserError: wrong input, a training that diverged, or a directory that holds another run.
    """
    with _attempt(run, config), ExitStack() as until_the_end:
        prepared = _prepare(config, run, choices, until_the_end)
        tested = _fit(prepared)
        if prepared.trainer.is_global_zero:
            _conclude(prepared, tested, overrides)


def _prepare(
    config: DictConfig, run: RunDirectory, choices: dict[str, str | None], until_the_end: ExitStack
) -> _Prepared:
    """Build and check everything; loggers are closed with `until_the_end`."""
    if config.threads:
        torch.set_num_threads(config.threads)
    data, images = prepare_data(config)
    refuse_other_images(run, images)
    module = build_module(config, data)
    start = read_checkpoint(run.last_checkpoint).step if run.last_checkpoint.is_file() else 0
    parent = run.sibling(config.parent) if config.parent else None
    if parent and not start:
        start_from_parent(module, parent, rehearsal=config.rehearsal)
    timer = Timer(config.trainer.get("max_time"), verbose=False)  # beside it Lightning ignores its own `max_time`
    loggers = [until_the_end.enter_context(logger) for logger in build_loggers(config, run.path)]
    callbacks = _callbacks(config, run, choices, data)
    trainer = build_trainer(config, [timer, *callbacks], [_csv_logger(run, start), *loggers], run.path)
    data.micro_batch_size(trainer.world_size, trainer.accumulate_grad_batches)  # fails before any process starts
    trained = None
    if is_process_zero():
        for line in cautions(data):
            print(f"ocnet-train: warning: {line}", file=sys.stderr, flush=True)
        record_images(run, images)
        trained = record_trained(run, images[data.train_split] if config.schedule.max_steps else None, parent)
    return _Prepared(config, run, choices, data, images, trained, module, trainer, timer, resumes=start > 0)


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


def _fit(prepared: _Prepared) -> dict[str, TestCounts]:
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


def _conclude(prepared: _Prepared, tested: Mapping[str, TestCounts], overrides: list[str]) -> None:
    """Write `result.json` and print the scores."""
    run, config = prepared.run, plain(prepared.config)
    device = prepared.trainer.strategy.root_device
    network = prepared.module.network.eval().to(device)
    curves = read_curves(run.logs)
    result = Result(
        table=prepared.config.name,
        row=prepared.config.row,
        seed=prepared.config.seed,
        choices=prepared.choices,
        overrides=overrides,
        config=config,
        config_hash=config_hash(config),
        commit=provenance.commit(),
        packages=provenance.packages(),
        device=provenance.device_name(device),
        processes=prepared.trainer.world_size,
        seconds=round(prepared.timer.time_elapsed("train"), 3),
        peak_memory=provenance.peak_memory(device),
        steps=prepared.trainer.global_step,
        weights_sha256=provenance.weights_sha256(network),
        parameters=provenance.parameter_counts(network),
        evaluations={key: one.keep(run.counts(key)) for key, one in tested.items()},
        curves=curves,
        samples=write_samples(Predictor(network, prepared.module.protocol), prepared.data, run.samples),
        data={split: one.summary() for split, one in prepared.images.items()},
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        rehearsal=_shortcomings(prepared, tested, curves),
    )
    result.write(run.result)
    for key, evaluation in result.evaluations.items():
        print(f"{key}: mIoU {percent(evaluation.miou)} %", flush=True)
    if result.rehearsal:
        print(f"a rehearsal, never compared: {'; '.join(result.rehearsal)}", flush=True)


def _shortcomings(prepared: _Prepared, tested: Mapping[str, TestCounts], curves: Curves) -> list[str]:
    """Reasons why a run is only a rehearsal: missing steps, and images that it did not train on or count."""
    schedule, module, steps = prepared.config.schedule, prepared.module, prepared.trainer.global_step
    found = []
    if prepared.config.rehearsal:
        found.append("rehearsal=true")
    if steps < schedule.max_steps and not _ended_by_callback(prepared):
        found.append(f"trained {steps} of {schedule.max_steps} steps")
    callbacks: list[Callback] = prepared.trainer.callbacks  # type: ignore[attr-defined]
    if any(callback.seen for callback in callbacks if isinstance(callback, RepeatedBatches)):
        found.append("trained on the same batches again in place of the whole training split")
    if steps >= schedule.val_every and not curves.get("val/miou"):
        found.append("never validated")
    images = len(prepared.images[prepared.data.val_split].keys)
    found += [f"validated on {count} of {images} images" for count in sorted(module.validated_images - {images})]
    partial = [(key, one) for key, one in tested.items() if not one.whole]
    return found + [f"tested {len(one.names)} of {len(one.split.keys)} images in {key}" for key, one in partial]


def _ended_by_callback(prepared: _Prepared) -> bool:
    """Return whether a callback of the config, not a limit of time, ended the training; reports list such runs."""
    left = prepared.timer.time_remaining("train")
    ran_out = left is not None and left <= 0
    return bool(prepared.config.get("callbacks")) and prepared.trainer.should_stop and not ran_out


def refuse_changed_data(config: DictConfig, run: RunDirectory) -> None:
    """Refuse a finished run as the result of this command when its data set holds other images now.

    Raises:
        UserError: other images, or no data set.
    """
    if recorded_images(run):
        refuse_other_images(run, prepare_data(config)[1])


def prepare_data(config: DictConfig) -> tuple[SegmentationDataModule, dict[str, Fingerprint]]:
    """The data set, and the fingerprints of all splits that a run reads.

    Raises:
        UserError: files are missing: reported now, not after the first hour.
    """
    data = build_data(config)
    data.prepare_data()
    return data, data.fingerprints([data.train_split, data.val_split, *config.evaluate_on])


def start_from_parent(module: SegmentationModule, parent: RunDirectory, *, rehearsal: bool = False) -> None:
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


_NOT_DETERMINISTIC = " does not have a deterministic implementation"
"""What torch says of an operation that `torch.use_deterministic_algorithms` refuses, after its name."""


@contextmanager
def _attempt(run: RunDirectory, config: DictConfig) -> Iterator[None]:
    """Lock the run's directory during an attempt, and record the error that ends it."""
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
            with suppress(OSError):  # on a full disk the launcher reports it
                write_json(run.failure, {"error": message, "traceback": traceback.format_exc()})
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise UserError(
                    f"{run.path}: {error.strerror}; free some space and rerun the same command to resume"
                ) from error
            if isinstance(error, RuntimeError) and _NOT_DETERMINISTIC in message:
                operation = message.partition(_NOT_DETERMINISTIC)[0]
                raise UserError(
                    f"trainer.deterministic=true: {operation} has no deterministic form on this device; choose another "
                    "head or loss, or set trainer.deterministic=warn"
                ) from error
            raise


def _csv_logger(run: RunDirectory, start: int) -> CSVLogger:
    version = log_version(start)
    if is_process_zero():
        # The resumed run logs these steps again, with the same values.
        for later in run.logs.glob("step-*"):
            if (of_later := start_of(later)) is not None and of_later >= start:
                shutil.rmtree(later)
    return CSVLogger(run.path, name=run.logs.name, version=version, flush_logs_every_n_steps=1)
