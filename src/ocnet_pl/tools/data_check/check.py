"""A data set, checked file by file before the first GPU hour."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.listing import is_litter
from ocnet_pl.dataset.overlap import same_content
from ocnet_pl.dataset.reading import Pair
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.tools.data_check.inspection import Facts, inspect_pairs
from ocnet_pl.tools.data_check.parallel import in_processes
from ocnet_pl.tools.data_check.report import SEVERITIES, Finding, Report, Severity, Split


@dataclass
class _Counted:
    """The facts of one split, summed up.

    Attributes:
        pairs: its files.
        used: training or validation reads it.
        split: numbers for the report.
        ids: pixels of each stored id, (256,).
        images: images that show each stored id, (256,).
        right_of: counts for each mirror pair: images that show both parts, and those whose left part lies on the right.
        without_class: labels in which every pixel is ignored.
        turned: (file, EXIF orientation) of those whose orientation is not 1.
        problems: (what is wrong, file, message).
    """

    pairs: list[Pair]
    used: bool
    split: Split
    ids: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    images: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    right_of: list[Counter[bool]] = field(default_factory=list)
    without_class: list[Path] = field(default_factory=list)
    turned: list[tuple[str, int]] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)


def check(data: SegmentationDataModule, workers: int, advance: Callable[[int, int], None]) -> Report:
    """Reads every file of every split that is there.

    Args:
        data: the data set.
        workers: processes.
        advance: callback, called with (pairs newly done, all pairs).

    Raises:
        UserError: no split can be listed.
    """
    begin = time.perf_counter()
    findings: list[Finding] = []
    listed = _listed(data, findings)
    trained, validated = (
        {image for image, _ in _candidates(data, name, listed)} for name in (data.train_split, data.val_split)
    )
    if shared := len(trained & validated):
        example = min(trained & validated)
        message = (
            f"{shared} images of {data.val_split} are trained on, {example} for example: its scores say nothing about "
            "other images"
        )
        findings.append(Finding("warning", "validation on training images", data.val_split, "", message))
    counted = {
        name: _Counted(
            pairs=pairs,
            used=not (trained | validated).isdisjoint(image for image, _ in pairs),
            split=Split(len(pairs), data.published_counts.get(name)),
        )
        for name, pairs in listed.items()
    }
    everything = [pair for pairs in listed.values() for pair in pairs]
    facts = [Facts()] * len(everything)
    inspect = partial(inspect_pairs, table=data.table, mirror_pairs=data.mirror_pairs)
    for part, found in in_processes(inspect, everything, workers):
        facts[part] = found
        advance(len(found), len(everything))
    in_order = iter(facts)
    for name, one in counted.items():
        _count(one, list(islice(in_order, len(one.pairs))), data)
        findings += _of_files(name, one)
        findings += _of_split(name, one, data)
    findings += _orphans(data, counted)
    findings += _of_sides(data, counted)
    findings += _of_overlap(counted)
    return Report(
        dataset=data.title,
        root=str(data.root),
        splits={name: one.split for name, one in counted.items()},
        findings=sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.kind)),
        seconds=time.perf_counter() - begin,
        workers=workers,
    )


def _listed(data: SegmentationDataModule, findings: list[Finding]) -> dict[str, list[Pair]]:
    """Files of all splits that are there; of those that are made of others nothing."""
    listed: dict[str, list[Pair]] = {}
    seen: set[Path] = set()
    refusals: list[UserError] = []
    for name in dict.fromkeys([*data.published_counts, data.train_split, data.val_split]):
        try:
            pairs = data.candidates(name)
        except UserError as error:
            refusals.append(error)
            if name in (data.train_split, data.val_split):
                findings.append(Finding("error", "split that cannot be listed", name, "", str(error)))
            continue
        if not seen.issuperset(image for image, _ in pairs):
            seen.update(image for image, _ in pairs)
            listed[name] = pairs
    if not listed:
        raise refusals[-1]
    return listed


def _candidates(data: SegmentationDataModule, name: str, listed: dict[str, list[Pair]]) -> list[Pair]:
    if name in listed:
        return listed[name]
    try:
        return data.candidates(name)
    except UserError:  # reported already
        return []


def _count(one: _Counted, facts: Sequence[Facts], data: SegmentationDataModule) -> None:
    split = one.split
    one.right_of = [Counter() for _ in data.mirror_pairs]
    for (_, label), fact in zip(one.pairs, facts, strict=True):
        one.problems += fact.problems
        one.turned += fact.turned
        if fact.size:
            split.sizes["{}x{}".format(*fact.size)] += 1
        if fact.image_mode:
            split.image_modes[fact.image_mode] += 1
        if fact.label_mode:
            split.label_modes[fact.label_mode] += 1
        if fact.counts is not None:
            one.ids += fact.counts
            one.images += fact.counts > 0
            if not fact.counts[data.table != IGNORE].any():
                one.without_class.append(label)
        for counter, right_of in zip(one.right_of, fact.right_of, strict=False):
            if right_of is not None:
                counter[right_of] += 1
    split.total = int(one.ids.sum())
    split.ignored = int(one.ids[data.table == IGNORE].sum())
    for number, name in enumerate(data.classes):
        split.pixels[name] = int(one.ids[data.table == number].sum())
        split.images[name] = int(one.images[data.table == number].max(initial=0))


def _of_files(name: str, one: _Counted) -> Iterator[Finding]:
    unlabelled = [problem for problem in one.problems if problem[0] == "image without its label"]
    if not one.used and one.pairs and len(unlabelled) == len(one.pairs):
        one.problems = [problem for problem in one.problems if problem not in unlabelled]
        yield Finding("note", "split without labels", name, "", f"{name}: no image has a label")
    for kind, file, message in one.problems:
        yield Finding("error" if one.used else "warning", kind, name, file, message)
    for file, orientation in one.turned:
        message = (
            f"{file}: EXIF orientation {orientation} is ignored; image and label must agree in the pixels as stored"
        )
        yield Finding("warning", "EXIF orientation that is ignored", name, file, message)


def _of_split(name: str, one: _Counted, data: SegmentationDataModule) -> Iterator[Finding]:
    split = one.split
    if split.published not in (None, split.pairs):
        message = f"{name}: {split.pairs} images, {split.published} were published"
        yield Finding("note", "other number of images than published", name, "", message)
    if not one.used or not split.total:
        return
    if absent := [label for label, pixels in split.pixels.items() if not pixels]:
        message = f"{name}: no pixel of {len(absent)} of the {len(data.classes)} classes: {', '.join(absent)}"
        yield Finding("warning", "classes that do not occur", name, "", message)
    for label in one.without_class:
        message = f"{label}: every pixel is ignored, there is nothing to learn from it"
        yield Finding("warning", "label without a class", name, str(label), message)
    if name == data.val_split and data.val_batch_size > 1 and len(split.sizes) > 1:
        message = f"{name}: images of {len(split.sizes)} sizes cannot be tested together; set dataset.val_batch_size=1"
        yield Finding("error", "sizes that make no batch", name, "", message)


def _orphans(data: SegmentationDataModule, counted: dict[str, _Counted]) -> Iterator[Finding]:
    """Labels beside those that belong to an image of any split, under names of the same kind."""
    expected = {label for one in counted.values() for _, label in one.pairs}
    seen: set[Path] = set()
    for name, one in counted.items():
        endings = tuple({_own_part(*pair) for pair in one.pairs})
        for folder in sorted({label.parent for _, label in one.pairs} - seen):
            seen.add(folder)
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path in expected or is_litter(path.name) or not path.name.endswith(endings):
                    continue
                if not data.has_image(path):
                    message = f"{path}: label without its image"
                    yield Finding("warning", "label without its image", name, str(path), message)


def _own_part(image: Path, label: Path) -> str:
    """Part of a label's name that its image's does not share: `gtFine_labelIds.png`."""
    shared = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(image.name, label.name, strict=False)))
    return label.name[shared:] or label.suffix


def _of_sides(data: SegmentationDataModule, counted: dict[str, _Counted]) -> Iterator[Finding]:
    """Left and right parts: people mostly face the camera, so their left is on the picture's right."""
    for name, one in counted.items():
        if not one.used or not one.split.total:
            continue
        for (left, right), sides in zip(data.mirror_pairs, one.right_of, strict=True):
            names = data.classes[left], data.classes[right]
            pixels = [one.split.pixels[part] for part in names]
            both, right_of = sides.total(), sides[True]
            if not all(pixels):
                continue  # reported as a class that does not occur
            if max(pixels) > 2 * min(pixels):
                message = f"{name}: {pixels[0]} pixels of {names[0]} but {pixels[1]} of {names[1]}"
                yield Finding("warning", "left and right out of balance", name, "", message)
            if both:
                odd = right_of < both / 2
                message = f"{name}: {names[0]} lies right of {names[1]} in {right_of} of {both} images that show both"
                message += "; were images mirrored without exchanging left and right?" if odd else ""
                yield Finding("warning" if odd else "note", "sides of left and right", name, "", message)


def _of_overlap(counted: dict[str, _Counted]) -> Iterator[Finding]:
    splits: dict[Path, str] = {}
    for name, one in counted.items():
        for image, _ in one.pairs:
            splits.setdefault(image, name)
    for first, *others in same_content(splits):
        for other in others:
            here, there = splits[first], splits[other]
            if here == there:
                message = f"{other}: the same image as {first}"
                yield Finding("note", "image that is there twice", here, str(other), message)
            else:
                severity: Severity = "error" if counted[here].used and counted[there].used else "warning"
                message = f"{other}: in {there}, and the same image as {first} in {here}"
                yield Finding(severity, "image in two splits", there, str(other), message)
