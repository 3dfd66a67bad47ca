"""Speed of a loader worker, beside what GPUs ask for."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.sampler import Draw
from ocnet_pl.resizing import Size
from ocnet_pl.tools.cost.demand import PEAKS, UTILISATION, Demand
from ocnet_pl.tools.cost.measuring import processor_name


@dataclass(frozen=True)
class LoadingSpeed:
    """Speed of one worker.

    Attributes:
        seconds: median time of a training sample.
        size: (height, width) of the sample of median size.
    """

    seconds: float
    size: Size

    @property
    def samples_per_second(self) -> float:
        """Training samples of one worker per second."""
        return 1 / self.seconds


def loading_speed(
    data: SegmentationDataModule, samples: int, advance: Callable[[int, int], None] = lambda more, total: None
) -> LoadingSpeed:
    """Measure one worker: one thread of this process, which reads, cuts and augments training samples in random order.

    Args:
        data: data set; with `dataset.cache`, samples are read from it.
        samples: number of samples; a first one is not counted.
        advance: callback, called with (samples newly done, all samples).
    """
    training = data.training_set()
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(data.seed)).tolist()
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    seconds, sizes = [], []
    try:
        for position in range(samples + 1):
            start = time.perf_counter()
            image = training[Draw(order[position % len(order)], position)]["image"]
            seconds.append(time.perf_counter() - start)
            sizes.append((image.shape[1], image.shape[2]))
            advance(1, samples + 1)
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
    return LoadingSpeed(
        statistics.median(seconds[1:]), sorted(sizes, key=lambda size: size[0] * size[1])[len(sizes) // 2]
    )


def print_loading(
    title: str, speed: LoadingSpeed, demands: Sequence[Demand], gpus: Sequence[str], console: Console
) -> None:
    """Print the speed of a worker, and one row per head: images per second of each GPU, and workers that load them."""
    height, width = speed.size
    console.print(
        f"{title}: {speed.samples_per_second:.1f} samples/s from one worker ({1000 * speed.seconds:.1f} ms a sample of "
        f"{width}x{height}; {processor_name()})",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    grid = Table(box=SIMPLE_HEAD)
    grid.add_column("Head", no_wrap=True)
    for heading in ("GFLOP/image", *(f"{gpu}\nimages/s, workers" for gpu in gpus)):
        grid.add_column(heading, justify="right", no_wrap=True)
    for one in demands:
        rates = [one.images_per_second(gpu) for gpu in gpus]
        wanted = (f"{rate:.1f}, {math.ceil(rate * speed.seconds)}" for rate in rates)
        grid.add_row(one.label, f"{one.gflops:.0f}", *wanted)
    console.print(grid)
    peaks = ", ".join(f"{gpu} {PEAKS[gpu]}" for gpu in gpus)
    note = (
        f"images/s: what one GPU trains on in 16 bits at {UTILISATION:.0%} (assumed) of its peak ({peaks} TFLOP/s); "
        "ocnet-profile --device cuda measures it. workers: dataset.num_workers for each GPU, one core each."
    )
    console.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)
