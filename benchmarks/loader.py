"""Cost of a training sample: a plain loader, our loader, and our loader with the decoded cache.

Times one thread of one process. `python benchmarks/loader.py` generates twelve images of Cityscapes' size;
`python benchmarks/loader.py dataset=cityscapes dataset.root=DIR` takes the overrides of ocnet-train.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import cv2
import kornia_rs
import numpy as np
import PIL
import plain_loader
import torch
from plain_loader import PlainLoader
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from synthetic_tree import write_synthetic_tree

from ocnet_pl.build import build_data
from ocnet_pl.config.compose import compose
from ocnet_pl.dataset import reading
from ocnet_pl.dataset.cache import DecodedCache
from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import read_size
from ocnet_pl.dataset.sampler import Draw
from ocnet_pl.dataset.samples import SegmentationDataset
from ocnet_pl.dataset.transforms import RandomScaleCrop
from ocnet_pl.drawing.progress import progress_of
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.tools.cost.measuring import processor_name

PLAIN, OURS, CACHED = "plain", "ours", "ours, cached"
LEGEND = (
    "plain: decode, look up and resize all of image and label, pad, crop, flip, normalise to float32",
    "ours: decode, cut the window of the crop, resize and look up only that; uint8, which the device normalises",
    "ours, cached: the same with dataset.cache=DIR",
)


@dataclass(frozen=True)
class Timing:
    """Mean time per sample of one loader.

    Attributes:
        loader: name of the loader.
        total_ms: processor time of the thread.
        decoder_ms: part of total_ms in the image decoder.
    """

    loader: str
    total_ms: float
    decoder_ms: float

    @property
    def samples_per_second(self) -> float:
        """Samples per second of one process."""
        return 1000 / self.total_ms

    @property
    def outside(self) -> float:
        """Share of the time outside the decoder."""
        return 1 - self.decoder_ms / self.total_ms


class Loader(Protocol):
    """Object that returns a sample for a draw."""

    def __getitem__(self, draw: Draw, /) -> object: ...


def benchmark(
    data: SegmentationDataModule,
    cache_folder: Path,
    *,
    images: int = 12,
    draws: int = 4,
    rounds: int = 5,
    advance: Callable[[int, int], None] = lambda more, total: None,
) -> list[Timing]:
    """Timings on one thread of this process, with the files in memory; the plain loader comes first.

    The loaders read every sample in turn, in several rounds; the median of the rounds is reported.

    Args:
        data: data set whose training transform is random scale and crop.
        cache_folder: folder for the decoded cache.
        images: number of images of the training split.
        draws: samples per image.
        rounds: number of rounds.
        advance: callback, called with (rounds newly done, all rounds).

    Raises:
        UserError: a data set with another training transform.
    """
    training = data.training_set()
    if [type(transform) for transform in data.geometry()] != [RandomScaleCrop]:
        raise UserError(
            f"{data.title}: its training transform is not random scale and crop, as in the plain loader; use "
            "dataset=cityscapes, demo or folder"
        )
    pairs = training.pairs[:images]
    order = [Draw(image, position) for position, image in enumerate(np.tile(range(len(pairs)), draws).tolist())]
    low, high = data.scale
    spread = np.random.default_rng(0).permutation(low + (high - low) * (np.arange(len(order)) + 0.5) / len(order))
    cache = DecodedCache(cache_folder, "benchmark", pairs, data.table)
    cache.prepare()
    loaders: dict[str, Loader] = {
        PLAIN: PlainLoader(pairs, data.table, data.crop_size, spread.tolist(), data.seed),
        OURS: SegmentationDataset(pairs, data.table, training.transform, data.seed),
        CACHED: SegmentationDataset(pairs, data.table, training.transform, data.seed, cache.read),
    }
    with _one_thread():
        return _time(loaders, order, rounds, advance)


def _time(
    loaders: dict[str, Loader], order: Sequence[Draw], rounds: int, advance: Callable[[int, int], None]
) -> list[Timing]:
    taken = {name: np.zeros((rounds + 1, len(order), 2)) for name in loaders}
    with _timed_decoders() as decoders:
        for index in range(rounds + 1):
            for draw in order:
                for name, loader in loaders.items():
                    decoders.seconds = 0.0
                    start = time.thread_time()
                    loader[draw]
                    taken[name][index, draw.position] = time.thread_time() - start, decoders.seconds
            advance(1, rounds + 1)
    # The first round is a warm-up; of the others, the median of each sample.
    typical = {name: 1000 * np.median(seconds[1:], 0).mean(0) for name, seconds in taken.items()}
    return [Timing(name, float(total), float(inside)) for name, (total, inside) in typical.items()]


def conditions(data: SegmentationDataModule) -> list[str]:
    """Lines that describe the measured files and the machine."""
    image, label = data.pairs(data.train_split)[0]
    height, width = read_size(image)
    files = (
        f"files: {width}x{height}, {image.suffix[1:]} of {image.stat().st_size / 1e6:.1f} MB and label of "
        f"{label.stat().st_size / 1e3:.0f} kB, in memory; crop {data.crop_size[1]}x{data.crop_size[0]}, scale "
        f"{data.scale[0]} to {data.scale[1]}"
    )
    versions = f"kornia-rs {kornia_rs.__version__}, OpenCV {cv2.__version__}, Pillow {PIL.__version__}"
    return [files, f"machine: {processor_name()} x {os.cpu_count()}, processor time of one thread; {versions}"]


class _Stopwatch:
    seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            start = time.thread_time()
            result = function(*arguments)
            self.seconds += time.thread_time() - start
            return result

        return timed


@contextmanager
def _timed_decoders() -> Iterator[_Stopwatch]:
    """Measure the time in the decoders, for all callers."""
    watch = _Stopwatch()
    with ExitStack() as patches:
        for module, name in ((reading, "plain_png"), (reading, "pillow"), (plain_loader, "decoded")):
            patches.enter_context(patch.object(module, name, watch.around(getattr(module, name))))
        yield watch


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads(), torch.get_num_threads()
    try:
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])


def print_timings(timings: Sequence[Timing], notes: Sequence[str], console: Console) -> None:
    """Print one row per loader; the last column is relative to the first row."""
    grid = Table(box=SIMPLE_HEAD)
    grid.add_column("Loader", no_wrap=True)
    for heading in ("ms/sample", "in decoder", "outside (%)", "samples/s", "speed-up"):
        grid.add_column(heading, justify="right")
    for timing in timings:
        ratio = timing.samples_per_second / timings[0].samples_per_second
        numbers = timing.total_ms, timing.decoder_ms, 100 * timing.outside, timing.samples_per_second
        grid.add_row(timing.loader, *(f"{number:.1f}" for number in numbers), f"{ratio:.2f}")
    console.print(grid)
    for note in notes:
        console.print(note, style="dim", highlight=False, markup=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="the data set (default: a synthetic one)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="report the median of N (default: 5)")
    options = parser.parse_args(arguments)
    with one_line_errors("loader.py"), tempfile.TemporaryDirectory(prefix="loader-") as folder:
        overrides = options.overrides
        if not overrides:
            write_synthetic_tree(Path(folder) / "tree", 12)
            overrides = ["dataset=cityscapes", f"dataset.root={folder}/tree"]
        data = build_data(compose(*overrides))
        data.prepare_data()
        with progress_of("timing") as advance:
            timings = benchmark(data, Path(folder), rounds=options.rounds, advance=advance)
        print_timings(timings, [*LEGEND, *conditions(data)], Console())


if __name__ == "__main__":
    main()
