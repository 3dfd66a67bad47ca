"""What the attention of every run of a sweep looks at."""

from collections.abc import Iterable

import torch

from ocnet_pl.model.object_context import NoAttentionError
from ocnet_pl.record.context import ContextMeasure, measure_beside
from ocnet_pl.record.directory import RunDirectory
from ocnet_pl.record.result import Result
from ocnet_pl.tools.explore.measure_checkpoint import measure, setting_for
from ocnet_pl.tools.explore.opening import open_checkpoint


def context_of_runs(
    results: Iterable[Result], images: int, pixels: int, device: torch.device
) -> list[tuple[Result, ContextMeasure]]:
    """Measures of all runs whose heads have attention, on their validation images; nothing is written.

    A measure that `ocnet-explore measure` wrote beside the run is taken, as long as it is of the run's weights.

    Args:
        results: of finished runs.
        images: how many of the first ones, where there is none.
        pixels: of each class in each image.
        device: for the networks.
    """
    return [
        (result, found)
        for result in results
        if (found := measure_beside(result) or _measure(result, images, pixels, device))
    ]


def _measure(result: Result, images: int, pixels: int, device: torch.device) -> ContextMeasure | None:
    try:
        one = open_checkpoint(RunDirectory(result.directory).last_checkpoint, device)
    except NoAttentionError:
        return None
    return measure(one, setting_for(one, None, images, pixels, seed=0))
