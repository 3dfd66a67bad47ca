"""What a section of the report is, and what its measurements share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from ocnet_pl.config.compose import heads
from ocnet_pl.tools.cost.profiling import ProfileSettings, Subject, build_subject, head_configs

FEW_HEADS = ("base_oc", "ppm", "danet")
"""Heads of a rehearsal: attention, pooling to grids, outputs that only training uses."""


@dataclass(frozen=True)
class Scope:
    """Extent of a report.

    Attributes:
        rehearsal: tiny sizes and few heads on the CPU, to see that everything runs.
        folder: empty folder for the runs of trainings.
    """

    rehearsal: bool
    folder: Path

    @property
    def device(self) -> torch.device:
        """Device that is measured."""
        return torch.device("cpu" if self.rehearsal else "cuda")

    @property
    def heads(self) -> Sequence[str]:
        """Options of model/head."""
        return FEW_HEADS if self.rehearsal else heads()

    def sizes(self, height: int, width: int) -> tuple[int, int]:
        """Size of the images, or a small one."""
        return (65, 97) if self.rehearsal else (height, width)

    def subject(
        self,
        head: str,
        *overrides: str,
        size: tuple[int, int],
        batch: int = 2,
        precision: str = "32",
        backbone: str = "resnet101s",
        device: torch.device | None = None,
    ) -> Subject:
        """Network and random batch, made on the measured device or another."""
        settings = ProfileSettings(
            size=size, batch=batch, device=device or self.device, backbone="tiny" if self.rehearsal else backbone,
            precision=precision, classes=19, repeats=3, explicit_attention=False,
        )  # fmt: skip
        (config,) = head_configs([head], settings.backbone, overrides).values()
        with settings.device:
            return build_subject(config, settings)


class Finding(NamedTuple):
    """One line of a section's table.

    Attributes:
        cells: what was found.
        holds: whether the section's aim holds; None for a number without an aim.
    """

    cells: Sequence[str]
    holds: bool | None = None


@dataclass(frozen=True)
class Section:
    """One subject of the report.

    Attributes:
        title: heading.
        aim: what should hold, one sentence.
        columns: headings of a finding's cells; the first is the item.
        seconds: limit on a GPU.
        items: names of what is measured, in the order of importance.
        findings: measures one item. An error is the item's finding, and the next item follows.
    """

    title: str
    aim: str
    columns: Sequence[str]
    seconds: float
    items: Callable[[Scope], Sequence[str]]
    findings: Callable[[Scope, str], Iterator[Finding]]


def milliseconds(seconds: float | None) -> str:
    """Time for a cell."""
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"


def gigabytes(size: float | None) -> str:
    """Memory for a cell."""
    return "-" if size is None else f"{size / 1e9:.2f}"
