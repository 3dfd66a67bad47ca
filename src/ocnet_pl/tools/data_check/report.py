"""Findings of a check of a data set, as numbers and lines."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        severity: error: it would break the training or make its scores worthless; warning: look at it; note: know it.
        kind: the same words for the same thing.
        split: name of its split.
        file: the file that it is about; empty when it is about more than one.
        message: says what and where in one line.
    """

    severity: Severity
    kind: str
    split: str
    file: str
    message: str


@dataclass
class Split:
    """Numbers of one split.

    Attributes:
        pairs: number of images, whether or not they have a label.
        published: number of images as published; None: not published.
        sizes: images of each "width x height".
        image_modes: images of each of Pillow's modes.
        label_modes: labels of each of Pillow's modes.
        pixels: labelled pixels of each class.
        images: images that show each class.
        ignored: pixels that are neither trained nor scored.
        total: pixels of all labels that can be read.
    """

    pairs: int
    published: int | None
    sizes: Counter[str] = field(default_factory=Counter)
    image_modes: Counter[str] = field(default_factory=Counter)
    label_modes: Counter[str] = field(default_factory=Counter)
    pixels: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    ignored: int = 0
    total: int = 0


@dataclass
class Report:
    """A data set, checked.

    Attributes:
        dataset: name of its class.
        root: folder of the data set.
        splits: by name.
        findings: the worst first.
        seconds: that the check took.
        workers: processes that it took.
    """

    dataset: str
    root: str
    splits: dict[str, Split]
    findings: list[Finding]
    seconds: float
    workers: int

    @property
    def sound(self) -> bool:
        """True where a training can start."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def rate(self) -> float:
        """Pairs of files a second."""
        return sum(split.pairs for split in self.splits.values()) / max(self.seconds, 1e-9)


def as_json(report: Report) -> dict[str, Any]:
    """Everything, for machines: every bad file, counts by class, shares between 0 and 1."""
    return {
        "dataset": report.dataset,
        "root": report.root,
        "sound": report.sound,
        "findings": [vars(finding) for finding in report.findings],
        "splits": {
            name: {
                "pairs": split.pairs,
                "published": split.published,
                "sizes": dict(split.sizes.most_common()),
                "image_modes": dict(split.image_modes.most_common()),
                "label_modes": dict(split.label_modes.most_common()),
                "ignored_share": split.ignored / split.total if split.total else None,
                "classes": {
                    name: {"pixels": pixels, "images": split.images[name]} for name, pixels in split.pixels.items()
                },
            }
            for name, split in report.splits.items()
        },
        "seconds": report.seconds,
        "workers": report.workers,
        "pairs_per_second": report.rate,
    }
