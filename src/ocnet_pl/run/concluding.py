"""End of a run: `result.json`, and whether the run is only a rehearsal."""

from collections.abc import Mapping
from datetime import UTC, datetime

from pytorch_lightning.callbacks import Callback

from ocnet_pl.config.compose import plain
from ocnet_pl.drawing.numbers import percent
from ocnet_pl.predictor import Predictor
from ocnet_pl.record.curves import Curves, read_curves
from ocnet_pl.record.identity import config_hash
from ocnet_pl.record.result import Result
from ocnet_pl.run import provenance
from ocnet_pl.run.callbacks.repeated_batches import RepeatedBatches
from ocnet_pl.run.preparing import Prepared
from ocnet_pl.run.samples import write_samples
from ocnet_pl.run.testing import TestCounts


def conclude(prepared: Prepared, tested: Mapping[str, TestCounts], overrides: list[str]) -> None:
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


def _shortcomings(prepared: Prepared, tested: Mapping[str, TestCounts], curves: Curves) -> list[str]:
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


def _ended_by_callback(prepared: Prepared) -> bool:
    """Return whether a callback of the config, not a limit of time, ended the training; reports list such runs."""
    left = prepared.timer.time_remaining("train")
    ran_out = left is not None and left <= 0
    return bool(prepared.config.get("callbacks")) and prepared.trainer.should_stop and not ran_out
