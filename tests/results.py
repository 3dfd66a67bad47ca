"""Made-up results: what a table needs, without any training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.metrics import Absent
from ocnet_pl.record.result import Evaluation, Result

LABELS = {
    "gp": "GP",
    "ppm": "PPM",
    "base_oc": "Base-OC",
    "pyramid_oc": "Pyramid-OC",
    "asp_oc": "ASP-OC",
    "baseline": "Baseline",
}


def result(row: str, seed: int, miou: float, table: str = "table1", **fields: Any) -> Result:
    """With `miou` in per cent; `fields` replace any of the rest."""
    evaluation = Evaluation(miou / 100, 0.9, {"road": miou / 100, "car": None}, images=5)
    made_up = {
        "table": table, "row": row, "seed": seed, "choices": {"model/head": row, "inference": "whole"},
        "overrides": [], "config": {"model": {"head": {"label": LABELS.get(row, row)}}}, "config_hash": "0",
        "commit": None, "packages": {}, "device": "cpu", "processes": 1, "seconds": 1.0, "peak_memory": 1,
        "steps": 10, "weights_sha256": f"{row}{seed}", "parameters": {"total": 3},
        "evaluations": {"last/val/whole": evaluation},
        "curves": {"train/loss": [(0, 3.0), (5, 2.0)], "val/miou": [(4, miou / 100), (9, miou / 100 - 0.1)]},
        "samples": [], "finished": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip
    return Result(**made_up | fields)


def counted(
    folder: Path,
    row: str,
    seed: int,
    counts: NDArray[np.int64],
    *,
    classes: Sequence[str] = ("road", "car"),
    images: Sequence[str] | None = None,
    table: str = "table1",
    absent_classes: Absent = "skip",
    confusion: NDArray[np.int64] | None = None,
    **fields: Any,
) -> Result:
    """Write a run with per-image counts (images, 3, K), and a confusion matrix if given, into a sweep's folder."""
    directory = folder / row / f"seed-{seed}"
    directory.mkdir(parents=True, exist_ok=True)
    names = images or [f"image {place}" for place in range(len(counts))]
    matrix = {} if confusion is None else {"confusion": confusion}
    np.savez(directory / "counts.npz", counts=counts, images=list(names), classes=list(classes), **matrix)
    evaluation = Evaluation.of_counts(counts, classes, "counts.npz", absent_classes=absent_classes)
    protocol = fields.get("choices", {}).get("inference", "whole")
    made_up = {"evaluations": {f"last/val/{protocol}": evaluation}, "curves": {}, **fields}
    run = result(row, seed, 0.0, table, **made_up)
    run.write(directory / "result.json")
    return run


def counts_with(share: float, rng: np.random.Generator, images: int = 20, classes: int = 2) -> NDArray[np.int64]:
    """Counts in which about this share of the pixels is right (images, 3, K)."""
    hits = rng.binomial(1000, share, (images, classes))
    return np.stack([hits, np.roll(1000 - hits, 1, 1), 1000 - hits], 1)
