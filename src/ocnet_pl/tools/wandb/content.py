"""What a finished run shows on wandb, made of its result and the files beside it."""

from typing import Any

import numpy as np

from ocnet_pl.record.image_counts import read_counts
from ocnet_pl.record.result import Result
from ocnet_pl.record.sample_pictures import Kind, read_sample, sample_file

STEP = "trainer/global_step"
"""The axis of the curves; Lightning's own name for it."""

VALIDATION_CURVE = "val/miou"
TRAINING_CURVE = "train/loss"
SAMPLES = "samples"


def miou_key(evaluation: str) -> str:
    """Name of the mIoU of an evaluation among the final numbers."""
    return f"{evaluation}/miou"


def iou_key(evaluation: str, class_name: str) -> str:
    """Name of a class's IoU among the final numbers."""
    return f"{evaluation}/iou/{class_name}"


def final_numbers(result: Result) -> dict[str, Any]:
    """For the summary: all scores in 0..1, what the run cost, and what tells it from others."""
    numbers: dict[str, Any] = {
        "config_hash": result.config_hash,
        "commit": result.commit,
        "weights_sha256": result.weights_sha256,
        "device": result.device,
        "processes": result.processes,
        "steps": result.steps,
        "seconds": result.seconds,
        "peak_memory": result.peak_memory,
        "parameters": result.parameters["total"],
    }
    for key, evaluation in result.evaluations.items():
        numbers[miou_key(key)] = evaluation.miou
        numbers[f"{key}/pixel_accuracy"] = evaluation.pixel_accuracy
        numbers |= {iou_key(key, name): value for name, value in evaluation.iou.items()}
    return numbers


def samples(result: Result) -> dict[str, Any]:
    """The drawn validation images, with truth and prediction as masks that wandb lays over them."""
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
    """A chart of wandb's own for every evaluation: pixels by true and predicted class, pairs that occur."""
    import wandb

    charts = {}
    for key in result.evaluations:
        kept = read_counts(result, key)
        if kept is None or not kept.confusion.size:
            continue
        confusion, classes = kept.confusion, kept.classes
        columns: list[str | int] = ["Actual", "Predicted", "nPredictions"]
        rows: list[list[Any]] = [[classes[i], classes[j], int(confusion[i, j])] for i, j in np.argwhere(confusion)]
        charts[f"{key}/confusion"] = wandb.plot_table(
            "wandb/confusion_matrix/v1",
            wandb.Table(columns=columns, data=rows),
            {str(column): str(column) for column in columns},
            {"title": f"{key}: pixels by true and predicted class"},
        )
    return charts
