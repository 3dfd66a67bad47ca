"""Whole trainings on drawn scenes: the command, a killed run, and one process of a distributed run."""

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ocnet_pl.config.compose import compose_with_choices
from ocnet_pl.module import SegmentationModule
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.result import Result
from ocnet_pl.run.training import train
from on_gpu.section import Finding, Scope, Section

STEPS, KILLED_AT = 12, 6


def _options(scope: Scope, name: str, steps: int) -> list[str]:
    """Overrides of a training; every step is logged, and every fourth saved."""
    small = ("dataset.image_size=[32,64]", "dataset.crop_size=[32,64]", "dataset.num_images={train:8,val:4}",
             "schedule.batch_size=4", "schedule.val_every=4", "threads=1", "dataset.val_batch_size=1")  # fmt: skip
    return [
        "dataset=demo", "schedule=demo", "model/backbone=tiny", f"outputs={scope.folder}/outputs", f"name={name}",
        f"dataset.root={scope.folder}/data", f"schedule.max_steps={steps}", "schedule.log_every=1",
        "schedule.checkpoint_every=4", "trainer.enable_progress_bar=false",
        *(small if scope.rehearsal else ()), "trainer=cpu" if scope.rehearsal else "trainer=auto",
    ]  # fmt: skip


def _run(overrides: Sequence[str]) -> RunDirectory:
    """Directory of a run."""
    config, _ = compose_with_choices(*overrides)
    return RunDirectory(Path(config.outputs, config.name, config.row, f"seed-{config.seed}"))


def _train(overrides: Sequence[str], killed_at: int | None = None) -> None:
    """Train in this process; or until SIGKILL, at the beginning of a step."""
    usual = SegmentationModule.training_step

    def step(module: SegmentationModule, batch: Any, batch_idx: int) -> Any:
        if module.global_step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(module, batch, batch_idx)

    SegmentationModule.training_step = step  # type: ignore[method-assign]
    config, choices = compose_with_choices(*overrides)
    train(config, _run(overrides), choices, list(overrides))


def _in_process(overrides: Sequence[str], killed_at: int | None = None) -> int:
    process = multiprocessing.get_context("fork").Process(target=_train, args=(overrides, killed_at))
    process.start()
    process.join()
    return process.exitcode or 0


def _of_command(scope: Scope, head: str) -> Iterator[Finding]:
    steps = 4 if scope.rehearsal else 200
    overrides = [*_options(scope, "command", steps), f"model/head={head}"]
    command = [sys.executable, "-m", "ocnet_pl.command.train", *overrides]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    result = Result.read(_run(overrides).result)
    losses = [value for _, value in result.curves["train/main"]]
    (evaluation,) = result.evaluations.values()
    cells = head, str(result.steps), result.device, f"{losses[0]:.2f} to {losses[-1]:.2f}", f"{evaluation.miou:.1%}"
    learned = scope.rehearsal or losses[-1] < losses[0] / 2
    yield Finding((*cells, f"{result.seconds:.1f}"), result.steps == steps and learned)


def _of_resuming(scope: Scope, item: str) -> Iterator[Finding]:
    head, *settings = shlex.split(item)
    results = []
    for name, kills in (("whole", ()), ("killed", (KILLED_AT,))):
        overrides = [*_options(scope, f"{name} {item}".replace(" ", "-").replace("=", "-"), STEPS), *settings,
                     f"model/head={head}", "trainer.deterministic=true"]  # fmt: skip
        for step in kills:
            if (code := _in_process(overrides, step)) != -signal.SIGKILL:
                raise RuntimeError(f"the run ended with code {code} before it was killed")
        if code := _in_process(overrides):
            raise RuntimeError(f"{name}: ended with code {code}")
        results.append(Result.read(_run(overrides).result))
    whole, killed = results
    same = [
        whole.weights_sha256 == killed.weights_sha256,
        whole.curves == killed.curves,
        whole.evaluations == killed.evaluations,
    ]
    yield Finding((item, *("equal" if one else "different" for one in same)), all(same))


def _of_group(scope: Scope, head: str) -> Iterator[Finding]:
    overrides = [*_options(scope, "group", STEPS), f"model/head={head}", "trainer.strategy=ddp"]
    overrides += [] if scope.rehearsal else ["trainer.sync_batchnorm=true"]  # SyncBatchNorm needs a GPU
    if code := _in_process(overrides):
        raise RuntimeError(f"ended with code {code}")
    result = Result.read(_run(overrides).result)
    losses = [value for _, value in result.curves["train/loss"]]
    cells = head, "gloo" if scope.rehearsal else "NCCL, SyncBatchNorm", f"{losses[0]:.2f} to {losses[-1]:.2f}"
    yield Finding(cells, result.steps == STEPS)


COMMAND = Section(
    "A training with ocnet-train",
    "200 steps on drawn scenes, from the data to the result: the loss falls to less than half.",
    ("head", "steps", "device", "loss", "mIoU", "seconds of training"),
    60,
    lambda scope: scope.heads[:1] if scope.rehearsal else ("base_oc", "asp_oc"),
    _of_command,
)
RESUMING = Section(
    "Killed and resumed",
    f"`trainer.deterministic=true`: a run of {STEPS} steps that is killed at step {KILLED_AT} (SIGKILL) and resumed "
    "equals an uninterrupted one bit for bit.",
    ("head and settings", "weights", "curves", "scores"),
    100,
    lambda scope: (
        ("ppm",)
        if scope.rehearsal
        else ("base_oc", "ppm", "asp_oc loss=ohem", "pyramid_oc trainer.precision=bf16-mixed", "danet", "upernet")
    ),
    _of_resuming,
)
GROUP = Section(
    "Distributed training",
    "One process of DistributedDataParallel, batch norm synchronised over the group, and scores gathered from it.",
    ("head", "backend", "loss"),
    50,
    lambda scope: ("danet",) if scope.rehearsal else ("base_oc", "danet", "mman", "encnet"),
    _of_group,
)
