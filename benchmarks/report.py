"""Time and memory of `ocnet-report` on made-up sweeps of seven rows with three seeds each.

`python benchmarks/report.py` measures the sizes of Cityscapes and ADE20K; `--seeds 5` adds the verdicts by class.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.record.result import Evaluation, Result

ROWS = ("baseline", "gp", "ppm", "aspp", "base_oc", "pyramid_oc", "asp_oc")
SIZES = ((500, 19), (2000, 150))
"""(images, classes) of Cityscapes val and ADE20K val."""


@dataclass(frozen=True)
class Cost:
    """Cost of one report.

    Attributes:
        seconds: wall-clock time of the command.
        megabytes: its peak memory.
    """

    seconds: float
    megabytes: float


def write_sweep(folder: Path, *, images: int, classes: int, seeds: int = 3) -> None:
    """Write results and per-image counts as runs write them.

    Args:
        folder: folder of the sweep.
        images: number of tested images.
        classes: number of classes; each image has 15 of them, or all if there are fewer.
        seeds: number of seeds of every row.
    """
    rng = np.random.default_rng(0)
    labelled = rng.random((images, classes)).argsort(1) < 15
    pixels = np.where(labelled, rng.integers(100, 200_000, (images, classes)), 0)
    names = [f"class {place}" for place in range(classes)]
    for place, row in enumerate(ROWS):
        for seed in range(seeds):
            _write_run(folder, row, seed, _counts(pixels, 0.7 + 0.01 * place, rng), names)


def measure(folder: Path) -> Cost:
    """Run `ocnet-report` on a sweep in a process of its own."""
    begin = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "ocnet_pl.command.report", str(folder)], stdout=subprocess.DEVNULL
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return Cost(time.perf_counter() - begin, used.ru_maxrss / 1024)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="seeds of every row (default: %(default)s)")
    seeds = parser.parse_args().seeds
    for images, classes in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            sweep = Path(folder) / "table1"
            write_sweep(sweep, images=images, classes=classes, seeds=seeds)
            cost = measure(sweep)
        runs = len(ROWS) * seeds
        print(f"{runs} runs x {images} images x {classes} classes: {cost.seconds:.1f} s, {cost.megabytes:.0f} MB")


def _counts(pixels: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    hits = rng.binomial(pixels, np.clip(rng.normal(share, 0.1, pixels.shape), 0, 1))
    misses = pixels - hits
    return np.stack([hits, rng.permuted(misses, axis=1), misses], 1)


def _write_run(folder: Path, row: str, seed: int, counts: NDArray[np.int64], classes: list[str]) -> None:
    directory = folder / row / f"seed-{seed}"
    directory.mkdir(parents=True)
    np.savez_compressed(
        directory / "counts.npz",
        counts=counts,
        images=[f"val/image_{place:05d}.png" for place in range(len(counts))],
        classes=classes,
        keys=[f"{place:032x}" for place in range(len(counts))],
        confusion=np.zeros((len(classes), len(classes)), np.int64),
    )
    evaluation = Evaluation.of_counts(counts, classes, "counts.npz")
    steps = range(0, 40000, 100)
    Result(
        table=folder.name, row=row, seed=seed, choices={"model/head": row, "inference": "whole"}, overrides=[],
        config={"seed": seed}, config_hash="0", commit=None, packages={}, device="none", processes=1, seconds=1.0,
        peak_memory=0, steps=40000, weights_sha256=f"{row} {seed}", parameters={"total": 1},
        evaluations={"last/val/whole": evaluation}, curves={"train/loss": [(step, 1.0) for step in steps]},
        samples=[], finished="2026-01-01T00:00:00+00:00",
    ).write(directory / "result.json")  # fmt: skip


if __name__ == "__main__":
    main()
