"""Content of a finished run on wandb, made from its result and the files next to it."""

from typing import Any

import numpy as np

from ocnet_pl.record.image_counts import read_counts
from ocnet_pl.record.result import Result
from ocnet_pl.record.sample_pictures import Kind, read_sample, sample_file

STEP = "trainer/global_step"
"""Lightning's name of the curves' x axis."""
VALIDATION_CURVE = "val/miou"
TRAINING_CURVE = "train/loss"
SAMPLES = "samples"

_FACTS = (
    "config_hash", "commit", "weights_sha256", "device", "processes", "steps", "seconds", "peak_memory",
)  # fmt: skip


def miou_key(evaluation: str) -> str:
    """Name of an evaluation's mIoU in the summary."""
    return f"{evaluation}/miou"


def iou_key(evaluation: str, class_name: str) -> str:
    """Name of a class's IoU in the summary."""
    return f"{evaluation}/iou/{class_name}"


def final_numbers(result: Result) -> dict[str, Any]:
    """Summary of a run: all scores in 0..1, the cost of the run and what identifies it."""
    numbers = {name: getattr(result, name) for name in _FACTS} | {"parameters": result.parameters["total"]}
    for key, evaluation in result.evaluations.items():
        numbers[miou_key(key)] = evaluation.miou
        numbers[f"{key}/pixel_accuracy"] = evaluation.pixel_accuracy
        numbers |= {iou_key(key, name): value for name, value in evaluation.iou.items()}
    return numbers


def samples(result: Result) -> dict[str, Any]:
    """The run's validation samples, with truth and prediction as masks."""
    import wandb

    names = dict(enumerate(next(iter(result.evaluations.values())).iou))

    def mask(name: str, kind: Kind) -> dict[str, Any]:
        return {"mask_data": np.asarray(read_sample(sample_file(result.directory, name, kind))), "class_labels": names}

    return {
        SAMPLES: [
            wandb.Image(
                str(sample_file(result.directory, name, "input")),
                caption=name,
                masks={"truth": mask(name, "truth"), "prediction": mask(name, "prediction")},
            )
            for name in result.samples
        ]
    }


def confusion_charts(result: Result) -> dict[str, Any]:
    """One wandb chart for every evaluation: pixels by true and predicted class."""
    import wandb

    charts = {}
    columns = ["Actual", "Predicted", "nPredictions"]
    for key in result.evaluations:
        counts = read_counts(result, key)
        if counts is None or not counts.confusion.size:
            continue
        pairs = np.argwhere(counts.confusion)
        rows = [[counts.classes[i], counts.classes[j], int(counts.confusion[i, j])] for i, j in pairs]
        charts[f"{key}/confusion"] = wandb.plot_table(
            "wandb/confusion_matrix/v1",
            wandb.Table(columns=list(columns), data=rows),
            {column: column for column in columns},
            {"title": f"{key}: pixels by true and predicted class"},
        )
    return charts
