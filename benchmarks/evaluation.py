"""Cost of evaluating an image after the network: all logits and `argmax`, beside ours, which computes rows in blocks.

    python benchmarks/evaluation.py [PROTOCOL ...] [--size 1024x2048] [--classes 19] [--rounds 5]

The network is replaced by given maps of logits at stride 8. Times are of one thread, the median of interleaved rounds;
peaks are of the memory beyond that of the process before, each in a process of its own.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median

import torch
from plain_evaluation import plain_confusion, plain_labels
from torch import Tensor, nn

from ocnet_pl.counting import confusion_matrix
from ocnet_pl.inference import MultiScale, Protocol, SlidingWindow, WholeImage
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.layers import upsample
from ocnet_pl.tools.cost.measuring import map_large_blocks, measure, processor_name

STRIDE = 8
COUNTING = "counting"


def protocols() -> dict[str, Protocol]:
    """The protocols of `conf/inference`, with the settings of Cityscapes."""
    return {
        "whole": WholeImage(),
        "flip": WholeImage(flip=True),
        "multi_scale": MultiScale(),
        "probabilities": MultiScale(average="probabilities"),
        "sliding": SlidingWindow((769, 769), (513, 513)),
    }


class Maps(nn.Module):
    """Stand-in for a network: smooth random logits at stride 8, the same for every image of a size.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.made: dict[tuple[int, ...], Tensor] = {}

    def map_logits(self, image: Tensor) -> Tensor:
        size = (len(image), *(side // STRIDE + 1 for side in image.shape[-2:]))
        if size not in self.made:
            generator = torch.Generator().manual_seed(size[1])
            coarse = torch.randn(size[0], self.classes, 9, 17, generator=generator)
            noise = torch.randn(size[0], self.classes, *size[1:], generator=generator)
            self.made[size] = 4 * upsample(coarse, size[1:]) + noise
        return self.made[size]

    def forward(self, image: Tensor) -> Tensor:
        return upsample(self.map_logits(image), image.shape[-2:])


class Subject:
    """The two ways of evaluating one image under a protocol, or of counting its pixels.

    Args:
        name: one of `protocols()`, or `COUNTING`.
        size: (height, width) of the image.
        classes: number of classes.
    """

    def __init__(self, name: str, size: Sequence[int], classes: int) -> None:
        self.network = Maps(classes)
        self.image = torch.zeros(1, 3, *size, dtype=torch.uint8)
        self.protocol = protocols().get(name, WholeImage())
        generator = torch.Generator().manual_seed(0)
        label = torch.randint(classes + 1, tuple(size), generator=generator, dtype=torch.uint8)
        self.label = torch.where(label == classes, IGNORE, label)[None]
        self.prediction = self.protocol(self.network, self.image).labels()
        plain, ours = self.prediction.long(), self.prediction
        ways: dict[str, Callable[[], Tensor]] = {
            "plain": lambda: plain_labels(self.protocol, self.network, self.image),
            "ours": lambda: self.protocol(self.network, self.image).labels(),
        }
        if name == COUNTING:
            ways = {
                "plain": lambda: plain_confusion(plain, self.label, classes),
                "ours": lambda: confusion_matrix(ours, self.label, classes),
            }
        self.ways = ways


@dataclass(frozen=True)
class Comparison:
    """Costs of both ways.

    Attributes:
        name: protocol, or `COUNTING`.
        plain_ms: time of the plain way.
        ours_ms: time of ours.
        plain_mb: peak memory of the plain way.
        ours_mb: peak memory of ours.
        different: share of the results that differ.
    """

    name: str
    plain_ms: float
    ours_ms: float
    plain_mb: float
    ours_mb: float
    different: float


def compare(name: str, size: Sequence[int], classes: int, rounds: int) -> Comparison:
    """Measure both ways on one thread."""
    subject = _single_threaded(name, size, classes)
    results = {way: run() for way, run in subject.ways.items()}  # the warm-up, too
    different = (results["plain"] != results["ours"]).float().mean().item()
    taken: dict[str, list[float]] = {way: [] for way in subject.ways}
    for _ in range(rounds):
        for way, run in subject.ways.items():
            start = time.thread_time()
            run()
            taken[way].append(1000 * (time.thread_time() - start))
    context = multiprocessing.get_context("forkserver")  # imports everything once
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as processes:
        peaks = {way: processes.submit(peak, name, way, size, classes).result() / 1e6 for way in subject.ways}
    plain, ours = (median(taken[way]) for way in ("plain", "ours"))
    return Comparison(name, plain, ours, peaks["plain"], peaks["ours"], different)


def peak(name: str, way: str, size: Sequence[int], classes: int) -> int:
    """Peak memory of one way in this process, in bytes."""
    map_large_blocks()
    measured = measure(_single_threaded(name, size, classes).ways[way], torch.device("cpu"), 1)
    if measured.peak is None:
        raise RuntimeError("the system reports no peak memory")
    return measured.peak


def _single_threaded(name: str, size: Sequence[int], classes: int) -> Subject:
    torch.set_num_threads(1)
    return Subject(name, size, classes)


def _size(text: str) -> tuple[int, int]:
    height, width = map(int, text.split("x"))
    return height, width


@torch.inference_mode()
def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*protocols(), COUNTING]
    parser.add_argument("names", nargs="*", metavar="PROTOCOL", help=f"default: {', '.join(known)}")
    parser.add_argument("--size", type=_size, default=(1024, 2048), metavar="HxW", help="default: 1024x2048")
    parser.add_argument("--classes", type=int, default=19, metavar="N", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="report the median of N (default: 5)")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(known):
        parser.error(f"no such protocol: {', '.join(sorted(unknown))}")
    print("| protocol | plain (ms) | ours (ms) | time, ratio | plain (MB) | ours (MB) | memory, ratio | other labels |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in options.names or known:
        one = compare(name, options.size, options.classes, options.rounds)
        values = (
            *(f"{value:.0f}" for value in (one.plain_ms, one.ours_ms)),
            f"{one.ours_ms / one.plain_ms:.2f}",
            *(f"{value:.0f}" for value in (one.plain_mb, one.ours_mb)),
            f"{one.ours_mb / one.plain_mb:.2f}" if one.plain_mb else "-",
            f"{one.different:.1e}",
        )
        print(f"| {name} | {' | '.join(values)} |", flush=True)
    height, width = options.size
    print(f"\n{height}x{width}, {options.classes} classes, float32, one thread, median of {options.rounds}")
    print(f"machine: {processor_name()} x {os.cpu_count()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
