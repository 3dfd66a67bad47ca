"""Made-up results: what a table needs, without any training."""

from typing import Any

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
