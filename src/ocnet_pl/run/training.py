"""One run: from its config to its `result.json`."""

import errno
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import torch
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Timer
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
from ocnet_pl.record.images import Fingerprint, record_images, record_trained, recorded_images, refuse_other_images
from ocnet_pl.record.result import Result, evaluation_key
from ocnet_pl.record.sealed import write_json
from ocnet_pl.run import provenance
from ocnet_pl.run.callbacks.divergence import StopOnDivergence
from ocnet_pl.run.callbacks.missed_validation import MissedValidation
from ocnet_pl.run.callbacks.progress import TrainingProgress
from ocnet_pl.run.callbacks.stopping import SameConfigEverywhere, StopAfterStep
from ocnet_pl.run.samples import write_samples
from ocnet_pl.run.testing import TestCounts, test
from ocnet_pl.run.trainer import build_loggers, build_trainer


def train(config: DictConfig, run: RunDirectory, choices: dict[str, str | None], overrides: list[str]) -> None:
    """Train, test and write `result.json`; go on from the last checkpoint where there is one.

    Every process of a distributed run calls this; process 0 writes.

    Raises:
        UserError: wrong input, a training that diverged, or a directory that holds another run.
    """
    with _attempt(run, config), ExitStack() as until_the_end:
        resolved = plain(config)
        if config.threads:
            torch.set_num_threads(config.threads)
        data, images = prepare_data(config)
        refuse_other_images(run, images)
        module = build_module(config, data)
        start = _step_of(run)
        parent = run.sibling(config.parent) if config.parent else None
        if parent and not start:
            start_from_parent(module, parent)
        # Beside a timer of ours Lightning would ignore its own `max_time`.
        timer = Timer(config.trainer.get("max_time"), verbose=False)
        callbacks = [
            timer,
            StopAfterStep(run.last_checkpoint),  # before what may take long
            CheckpointConfig(resolved, choices, data.classes),
            StopOnDivergence(config.schedule.log_every),  # before anything is saved
            SameConfigEverywhere(config_hash(resolved)),
            MissedValidation(config.schedule.val_every),
            *checkpoint_callbacks(run.checkpoints, config.schedule.checkpoint_every),
        ]
        if config.trainer.enable_progress_bar:
            callbacks.append(TrainingProgress(config.schedule.batch_size, config.schedule.max_steps))
        mirrors = [until_the_end.enter_context(logger) for logger in build_loggers(config, run.path)]
        trainer = build_trainer(config, callbacks, [_csv_logger(run, start), *mirrors], run.path)
        data.micro_batch_size(trainer.world_size, trainer.accumulate_grad_batches)  # fails before any process starts
        trained = None
        if is_process_zero():
            for line in cautions(data):
                print(f"ocnet-train: warning: {line}", file=sys.stderr, flush=True)
            record_images(run, images)
            trained = record_trained(run, images[data.train_split] if config.schedule.max_steps else None, parent)
        if config.schedule.max_steps:  # else its network is its parent's
            trainer.fit(module, datamodule=data, ckpt_path=run.last_checkpoint if start else None, weights_only=True)
            trainer.save_checkpoint(run.last_checkpoint)
        tested = {
            evaluation_key("last", split, str(choices["inference"])): test(
                trainer, module, data, split, images[split], trained
            )
            for split in config.evaluate_on
        }
        if not config.schedule.max_steps:
            trainer.save_checkpoint(run.last_checkpoint)  # its parent's weights with this row's protocol
        if not trainer.is_global_zero:
            return
        curves = read_curves(run.logs)
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
            curves=curves,
            samples=write_samples(Predictor(network, module.protocol), data, run.samples),
            data={split: one.summary() for split, one in images.items()},
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            rehearsal=_shortcomings(
                config, trainer.global_step, module, tested, curves, len(images[data.val_split].keys)
            ),
        )
        result.write(run.result)
        for key, evaluation in result.evaluations.items():
            print(f"{key}: mIoU {percent(evaluation.miou)} %", flush=True)
        if result.rehearsal:
            print(f"a rehearsal, never compared: {'; '.join(result.rehearsal)}", flush=True)


def refuse_changed_data(config: DictConfig, run: RunDirectory) -> None:
    """Refuse to take a run for this one where the data set holds other images than it was trained and tested on.

    Raises:
        UserError: other images, or a data set that is not there.
    """
    if recorded_images(run):
        refuse_other_images(run, prepare_data(config)[1])


def prepare_data(config: DictConfig) -> tuple[SegmentationDataModule, dict[str, Fingerprint]]:
    """The data set, and the fingerprints of all splits that a run reads.

    Raises:
        UserError: files that are missing: reported now, not after the first hour.
    """
    data = build_data(config)
    data.prepare_data()
    return data, data.fingerprints([data.train_split, data.val_split, *config.evaluate_on])


def _shortcomings(
    config: DictConfig,
    steps: int,
    module: SegmentationModule,
    tested: Mapping[str, TestCounts],
    curves: Curves,
    val_images: int,
) -> list[str]:
    """Reasons why a run is only a rehearsal: steps that it did not make, images that it did not see or count."""
    planned = config.schedule.max_steps
    found = []
    if steps < planned:
        found.append(f"trained {steps} of {planned} steps")
    if module.repeats_batches:
        found.append("trained on the same batches again in place of the whole training split")
    validations = planned // config.schedule.val_every
    if validations and not curves.get("val/miou"):
        found.append("never validated")
    found += [
        f"validated on {count} of {val_images} images" for count in sorted(module.validated_images - {val_images})
    ]
    found += [
        f"tested {len(one.names)} of {len(one.split.keys)} images in {key}"
        for key, one in tested.items()
        if not one.whole
    ]
    return found


def start_from_parent(module: SegmentationModule, parent: RunDirectory) -> None:
    """Take the weights of the finished run that this one starts from.

    Raises:
        UserError: it is not finished, or only a rehearsal.
    """
    if parent.state() is not State.DONE:
        raise UserError(f"{parent.path}: this run starts from it, but it is {parent.state()}; train that row first")
    if short := Result.read(parent.result).rehearsal:
        raise UserError(f"{parent.path}: this run starts from it, but it is a rehearsal ({short[0]}); train it whole")
    load_weights(module.network, read_checkpoint(parent.last_checkpoint))


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


def _step_of(run: RunDirectory) -> int:
    """Steps done by the last checkpoint; 0 where there is none."""
    if not run.last_checkpoint.is_file():
        return 0
    return read_checkpoint(run.last_checkpoint).step


def _csv_logger(run: RunDirectory, start: int) -> CSVLogger:
    version = log_version(start)
    if is_process_zero():
        # What an earlier attempt logged from here on is repeated, value by value.
        for later in run.logs.glob("step-*"):
            if (of_later := start_of(later)) is not None and of_later >= start:
                shutil.rmtree(later)
    return CSVLogger(run.path, name=run.logs.name, version=version, flush_logs_every_n_steps=1)
