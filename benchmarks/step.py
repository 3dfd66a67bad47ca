"""Time and peak memory of a training step under every setting that changes its cost, as a Markdown table of ratios.

    python benchmarks/step.py --heads base_oc asp_oc --backbone resnet50 --size 385 --batch 2 --threads 1

Each number comes from a process of its own. A cell is time / memory, in multiples of the same head in float32 without
any of these settings. On a CPU time is that of the processor, so that other programs disturb it less, and memory is the
growth of the process; on a GPU time is that of the clock, and memory all that is allocated.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
from own_process import results_of

from ocnet_pl.config.compose import compose, heads
from ocnet_pl.model.attention import textbook_attention
from ocnet_pl.run.provenance import device_name
from ocnet_pl.tools.cost.measuring import Measurement, calls_attention, measure, processor_name
from ocnet_pl.tools.cost.profiling import ProfileSettings, build_subject, head_configs

HOUR = 3600.0
"""Limit of one measurement in seconds; compilation takes minutes."""


@dataclass(frozen=True)
class Variant:
    """Settings of a training step.

    Attributes:
        overrides: those of `ocnet-train`.
        precision: "32" or "bf16".
        textbook: attention that stores its map.
    """

    overrides: tuple[str, ...] = ()
    precision: str = "32"
    textbook: bool = False


PLAIN = "plain"
LAST, COMPILED = "channels_last=true", "compile=true"
VARIANTS = {
    PLAIN: Variant(),
    "textbook attention": Variant(textbook=True),
    "channels_last": Variant((LAST,)),
    "bf16": Variant(precision="bf16"),
    "bf16, channels_last": Variant((LAST,), "bf16"),
    "compile": Variant((COMPILED,)),
    "compile, bf16, channels_last": Variant((COMPILED, LAST), "bf16"),
}


def measured(head: str, variant: Variant, settings: ProfileSettings, threads: int) -> Iterator[Measurement | None]:
    """Measurement of one head; None for textbook attention of a head without attention."""
    torch.set_num_threads(threads)
    (config,) = head_configs([head], settings.backbone, variant.overrides).values()
    subject = build_subject(config, replace(settings, precision=variant.precision))
    if variant.textbook and not calls_attention(subject.module.network, subject.batch["image"]):
        yield None
        return
    subject.prepare_training()
    clock = time.perf_counter if settings.device.type == "cuda" else time.process_time
    with textbook_attention() if variant.textbook else nullcontext():
        yield measure(subject.train_step, settings.device, settings.repeats, clock)


def fastest(
    head: str, names: Sequence[str], settings: ProfileSettings, threads: int, rounds: int
) -> dict[str, Measurement | None]:
    """The fastest of several processes of each variant; they take turns, because machines change their speed."""
    found: dict[str, list[Measurement | None]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            found[name] += results_of(measured, head, VARIANTS[name], settings, threads, seconds=HOUR)
    return {
        name: min(filter(None, of), key=lambda one: one.seconds or HOUR, default=None) for name, of in found.items()
    }


def cell(one: Measurement | None, plain: Measurement) -> str:
    """Time / memory in multiples of the plain step's."""
    if one is None:
        return "-"
    pairs = ((one.seconds, plain.seconds), (one.peak, plain.peak))
    return " / ".join(f"{mine / its:.2f}" if mine and its else "-" for mine, its in pairs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", default=heads(), help="options of model/head (default: all)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="default: all")
    parser.add_argument("--backbone", default="resnet101s")
    parser.add_argument("--size", type=int, default=769)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU")
    parser.add_argument("--repeats", type=int, default=2, help="steps after the first one; the fastest counts")
    parser.add_argument("--rounds", type=int, default=1, help="processes for each number; the fastest counts")
    chosen = parser.parse_args(arguments)
    settings = ProfileSettings(
        size=(chosen.size, chosen.size), batch=chosen.batch, device=torch.device(chosen.device),
        backbone=chosen.backbone, precision="32", classes=19, repeats=chosen.repeats, explicit_attention=False,
    )  # fmt: skip
    others = [name for name in chosen.variants if name != PLAIN]
    print(f"| head | {PLAIN} | {' | '.join(others)} |")
    print(f"| --- | {' | '.join(['---:'] * (1 + len(others)))} |", flush=True)
    for head in chosen.heads:
        found = fastest(head, [PLAIN, *others], settings, chosen.threads, chosen.rounds)
        plain = found[PLAIN]
        assert plain is not None
        size = "does not fit" if plain.seconds is None else f"{plain.seconds:.2f} s / {(plain.peak or 0) / 1e6:.0f} MB"
        label = compose(f"model/head={head}").model.head.label
        print(f"| {label} | {size} | {' | '.join(cell(found[name], plain) for name in others)} |", flush=True)
    print(f"\nbackbone {chosen.backbone}, {chosen.size}x{chosen.size}, batch {chosen.batch}, {chosen.threads} threads, "
          f"{machine(settings.device)}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}")  # fmt: skip


def machine(device: torch.device) -> str:
    """Name of the processor; a child asks the GPU, because this process goes on forking."""
    if device.type == "cpu":
        return processor_name()
    return str(next(results_of(lambda: [device_name(device)], seconds=60)))


if __name__ == "__main__":
    main()
