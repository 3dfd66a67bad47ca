"""Report of a check: numbers of every split, and findings."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One problem or remark.

    Attributes:
        severity: error: the training would fail, or its scores would be worthless; warning: check this; note: for
            information.
        kind: short description, the same for all findings of a kind.
        split: name of the split.
        file: the file concerned; empty if there are several.
        message: file or split and the problem, in one line.
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
        pairs: number of images, with or without a label.
        published: published number of images; None: not published.
        sizes: number of images of each "width x height".
        image_modes: number of images of each Pillow mode.
        label_modes: number of labels of each Pillow mode.
        pixels: labelled pixels of each class.
        images: images that show each class.
        ignored: ignored pixels.
        total: pixels of all readable labels.
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
    """Result of a check.

    Attributes:
        dataset: name of the data set.
        root: folder of the data set.
        splits: numbers by name of the split.
        findings: all findings, the worst first.
        seconds: duration of the check.
        workers: number of processes.
    """

    dataset: str
    root: str
    splits: dict[str, Split]
    findings: list[Finding]
    seconds: float
    workers: int

    @property
    def sound(self) -> bool:
        """True if there are no errors."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def rate(self) -> float:
        """Pairs of files per second."""
        return sum(split.pairs for split in self.splits.values()) / max(self.seconds, 1e-9)


def as_json(report: Report) -> dict[str, Any]:
    """Machine-readable report: every finding, counts by class, shares between 0 and 1."""
    content = asdict(report) | {"sound": report.sound, "pairs_per_second": report.rate}
    content["splits"] = {name: _split_as_json(split) for name, split in report.splits.items()}
    return content


def _split_as_json(split: Split) -> dict[str, Any]:
    return {
        "pairs": split.pairs,
        "published": split.published,
        "sizes": dict(split.sizes.most_common()),
        "image_modes": dict(split.image_modes.most_common()),
        "label_modes": dict(split.label_modes.most_common()),
        "ignored_share": split.ignored / split.total if split.total else None,
        "classes": {name: {"pixels": split.pixels[name], "images": split.images[name]} for name in split.pixels},
    }
