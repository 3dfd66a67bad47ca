"""Check of a data set, file by file."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path

import numpy as np

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.listing import is_litter
from ocnet_pl.dataset.overlap import same_content
from ocnet_pl.dataset.reading import Pair
from ocnet_pl.dataset.targets import Targets
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.tools.data_check.inspection import Facts, inspect_pair, inspect_targets
from ocnet_pl.tools.data_check.parallel import in_processes
from ocnet_pl.tools.data_check.report import SEVERITIES, Finding, Report, Severity, Split
from ocnet_pl.tools.data_check.target_findings import sides, split_points, target_findings

Listed = Mapping[str, list[Pair]]
"""Files of each split."""


@dataclass(frozen=True)
class _Inspected:
    """One split, its files and their facts.

    Attributes:
        name: name of the split.
        pairs: files of the split.
        facts: facts of each pair.
        used: training or validation reads the split.
        numbers: the facts in numbers.
    """

    name: str
    pairs: list[Pair]
    facts: list[Facts]
    used: bool
    numbers: Split

    def finding(self, severity: Severity, kind: str, message: str, file: object = "") -> Finding:
        """Finding about this split."""
        return Finding(severity, kind, self.name, str(file), message)


def check(data: SegmentationDataModule, workers: int, advance: Callable[[int, int], None]) -> Report:
    """Read every file of every existing split.

    Args:
        data: the data set.
        workers: number of processes.
        advance: callback, called with (pairs newly done, all pairs); a pair with targets counts twice.

    Raises:
        UserError: no split can be listed.
    """
    begin = time.perf_counter()
    findings: list[Finding] = []
    listed = _listed(data, findings)
    trained, validated = (
        {image for image, _ in _candidates(data, name, listed)} for name in (data.train_split, data.val_split)
    )
    if shared := trained & validated:
        message = (
            f"{len(shared)} images of {data.val_split} are also trained on, e.g. {min(shared)}: its scores do not "
            "measure generalisation"
        )
        findings.append(Finding("warning", "validation on training images", data.val_split, "", message))
    everything = [pair for pairs in listed.values() for pair in pairs]
    points = {name: split_points(data, name, pairs) for name, pairs in listed.items()}
    items = list(zip(everything, [of for split in points.values() for of in split.of_images], strict=True))
    inspect = partial(inspect_pair, table=data.table, mirror_pairs=data.mirror_pairs, sides=sides(data))
    masks = {name: target for name, target in data.targets.items() if target.kind == "mask"}
    targeted = {pair for pair in everything if masks and pair[0] in trained}  # only training reads targets
    total = len(everything) + len(targeted)
    facts: list[Facts] = []
    for found in in_processes(inspect, items, workers):
        facts.append(found)
        advance(1, total)
    inspected = [(pair, fact) for pair, fact in zip(everything, facts, strict=True) if pair in targeted]
    for _ in _inspect_masks(masks, inspected, workers):
        advance(1, total)
    splits: dict[str, _Inspected] = {}
    for name, pairs in listed.items():
        of_split, facts = facts[: len(pairs)], facts[len(pairs) :]
        used = not (trained | validated).isdisjoint(image for image, _ in pairs)
        numbers = _numbers(of_split, data, data.published_counts.get(name))
        splits[name] = _Inspected(name, pairs, of_split, used, numbers)
        findings += [*_of_files(splits[name]), *_of_labels(splits[name], data), *_of_sides(splits[name], data)]
        findings += target_findings(data, name, pairs, of_split, points[name])
    findings += [*_orphans(data, splits), *_of_overlap(splits)]
    return Report(
        dataset=data.title,
        root=str(data.root),
        splits={name: split.numbers for name, split in splits.items()},
        findings=sorted(findings, key=lambda finding: (SEVERITIES.index(finding.severity), finding.kind)),
        seconds=time.perf_counter() - begin,
        workers=workers,
    )


def _inspect_masks(masks: Targets, inspected: list[tuple[Pair, Facts]], workers: int) -> Iterator[None]:
    """Add problems of masks to the facts. In threads: readers are the user's own code, unknown to new processes."""

    def inspect(both: tuple[Pair, Facts]) -> None:
        pair, facts = both
        inspect_targets(pair, facts, masks)

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(inspect, inspected)


def _listed(data: SegmentationDataModule, findings: list[Finding]) -> Listed:
    """Files of all existing splits, except splits that consist of others."""
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


def _candidates(data: SegmentationDataModule, name: str, listed: Listed) -> list[Pair]:
    if name in listed:
        return listed[name]
    try:
        return data.candidates(name)
    except UserError:  # reported already
        return []


def _numbers(facts: list[Facts], data: SegmentationDataModule, published: int | None) -> Split:
    split = Split(len(facts), published)
    split.sizes.update("{}x{}".format(*fact.size) for fact in facts if fact.size)
    split.image_modes.update(fact.image_mode for fact in facts if fact.image_mode)
    split.label_modes.update(fact.label_mode for fact in facts if fact.label_mode)
    ids, images = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for fact in facts:
        if fact.counts is not None:
            ids += fact.counts
            images += fact.counts > 0
    split.total, split.ignored = int(ids.sum()), int(ids[data.table == IGNORE].sum())
    for class_id, name in enumerate(data.classes):
        split.pixels[name] = int(ids[data.table == class_id].sum())
        split.images[name] = int(images[data.table == class_id].max(initial=0))
    return split


def _of_files(split: _Inspected) -> Iterator[Finding]:
    """Findings about single files."""
    problems = [problem for fact in split.facts for problem in fact.problems]
    missing = [problem for problem in problems if problem[0] == "image without its label"]
    if not split.used and split.pairs and len(missing) == len(split.pairs):
        problems = [problem for problem in problems if problem not in missing]
        yield split.finding("note", "split without labels", f"{split.name}: no image has a label")
    for kind, file, message in problems:
        yield split.finding("error" if split.used else "warning", kind, message, file)
    for file, orientation in (rotated for fact in split.facts for rotated in fact.rotated):
        message = f"{file}: EXIF orientation {orientation} is ignored; image and label must match in the stored pixels"
        yield split.finding("warning", "EXIF orientation that is ignored", message, file)


def _of_labels(split: _Inspected, data: SegmentationDataModule) -> Iterator[Finding]:
    """Findings about the number of images, and about classes and sizes of a split that is used."""
    name, numbers = split.name, split.numbers
    if numbers.published not in (None, numbers.pairs):
        message = f"{name}: {numbers.pairs} images, {numbers.published} were published"
        yield split.finding("note", "other number of images than published", message)
    if not split.used or not numbers.total:
        return
    if absent := [label for label, pixels in numbers.pixels.items() if not pixels]:
        message = f"{name}: {len(absent)} of {len(data.classes)} classes have no pixels: {', '.join(absent)}"
        yield split.finding("warning", "classes without pixels", message)
    for (_, label), fact in zip(split.pairs, split.facts, strict=True):
        if fact.counts is not None and not fact.counts[data.table != IGNORE].any():
            message = f"{label}: all pixels are ignored, so training learns nothing from it"
            yield split.finding("warning", "label without a class", message, label)
    if name == data.val_split and data.val_batch_size > 1 and len(numbers.sizes) > 1:
        message = f"{name}: images of {len(numbers.sizes)} sizes cannot be tested together; set val_batch_size=1"
        yield split.finding("error", "images of several sizes", message)


def _of_sides(split: _Inspected, data: SegmentationDataModule) -> Iterator[Finding]:
    """Findings about left and right parts: most people face the camera, so their left is on the right of the image."""
    if not split.used or not split.numbers.total:
        return
    for index, (left, right) in enumerate(data.mirror_pairs):
        names = data.classes[left], data.classes[right]
        pixels = [split.numbers.pixels[part] for part in names]
        if not all(pixels):
            continue  # reported as a class without pixels
        if max(pixels) > 2 * min(pixels):
            message = f"{split.name}: {pixels[0]} pixels of {names[0]} but {pixels[1]} of {names[1]}"
            yield split.finding("warning", "left and right out of balance", message)
        sides = [fact.right_of[index] for fact in split.facts if fact.right_of]
        right_of, both = sides.count(True), len(sides) - sides.count(None)
        if both:
            odd = right_of < both / 2
            message = f"{split.name}: {names[0]} lies right of {names[1]} in {right_of} of {both} images that show both"
            message += "; were images mirrored without exchanging left and right?" if odd else ""
            yield split.finding("warning" if odd else "note", "sides of left and right", message)


def _orphans(data: SegmentationDataModule, splits: Mapping[str, _Inspected]) -> Iterator[Finding]:
    """Labels that belong to no image of any split, beside the labels of a split and with names of the same form."""
    expected = {label for split in splits.values() for _, label in split.pairs}
    seen: set[Path] = set()
    for split in splits.values():
        endings = tuple({_own_part(*pair) for pair in split.pairs})
        for folder in sorted({label.parent for _, label in split.pairs} - seen):
            seen.add(folder)
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path in expected or is_litter(path.name) or not path.name.endswith(endings):
                    continue
                if not data.has_image(path):
                    message = f"{path}: label without its image"
                    yield split.finding("warning", "label without its image", message, path)


def _own_part(image: Path, label: Path) -> str:
    """Part of a label's name that differs from its image's name: `gtFine_labelIds.png`."""
    shared = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(image.name, label.name, strict=False)))
    return label.name[shared:] or label.suffix


def _of_overlap(splits: Mapping[str, _Inspected]) -> Iterator[Finding]:
    """Findings about images with the same content."""
    split_of: dict[Path, _Inspected] = {}
    for split in splits.values():
        for image, _ in split.pairs:
            split_of.setdefault(image, split)
    for first, *others in same_content(split_of):
        for other in others:
            here, there = split_of[first], split_of[other]
            if here is there:
                yield there.finding("note", "duplicate image", f"{other}: the same image as {first}", other)
            else:
                message = f"{other}: in {there.name}, and the same image as {first} in {here.name}"
                severity: Severity = "error" if here.used and there.used else "warning"
                yield there.finding(severity, "image in two splits", message, other)
