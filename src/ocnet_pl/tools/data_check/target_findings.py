"""Check of the targets beside the labels: files of many images, and keypoints."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ocnet_pl.dataset.data_module import SegmentationDataModule
from ocnet_pl.dataset.reading import Pair
from ocnet_pl.dataset.targets import read_keypoints
from ocnet_pl.errors import UserError
from ocnet_pl.tools.data_check.inspection import Facts
from ocnet_pl.tools.data_check.points import Points, Sides, point_problems
from ocnet_pl.tools.data_check.report import Finding, Severity


@dataclass(frozen=True)
class SplitPoints:
    """Keypoints of the images of a split.

    Attributes:
        of_images: keypoints of each pair of files.
        unread: (image, message) of keypoints that cannot be read.
    """

    of_images: list[Points] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)


def split_points(data: SegmentationDataModule, split: str, pairs: Sequence[Pair]) -> SplitPoints:
    """Read the keypoints of all images of a split."""
    read = SplitPoints()
    keypoints = {name: target for name, target in data.targets_of(split).items() if target.kind == "keypoints"}
    for pair in pairs:
        points = {}
        for name, target in keypoints.items():
            try:
                points[name] = read_keypoints(name, target, pair)
            except UserError as error:
                read.unread.append((str(pair[0]), str(error)))
        read.of_images.append(points)
    return read


def sides(data: SegmentationDataModule) -> dict[str, Sides]:
    """Parts of the label on which the keypoints of each target lie."""
    mirrored = {one: other for pair in data.mirror_pairs for one, other in (pair, pair[::-1])}
    return {
        name: {
            point: (own, [mirrored[part] for part in own if part in mirrored]) for point, own in target.parts.items()
        }
        for name, target in data.targets.items()
    }


def target_findings(
    data: SegmentationDataModule, split: str, pairs: Sequence[Pair], facts: Sequence[Facts], points: SplitPoints
) -> Iterator[Finding]:
    """Findings about the targets of a split."""
    severity: Mapping[bool, Severity] = {True: "error" if split == data.train_split else "warning", False: "warning"}
    faults = list(data.target_faults(split, [image for image, _ in pairs]))
    for fault in faults:
        yield Finding(severity[fault.fatal], fault.kind, split, "", fault.message)
    broken = {str(image) for (image, _), fact in zip(pairs, facts, strict=True) if fact.size is None}
    told = any(fault.fatal for fault in faults)  # of many images at once
    for image, message in points.unread:
        if not told and image not in broken:
            yield Finding(severity[True], "keypoints cannot be read", split, image, message)
    for name, target in data.targets_of(split).items():
        of_target = [fact.points.get(name) for fact in facts]
        for problem in point_problems(split, name, target.names, pairs, of_target):
            yield Finding("warning", problem.kind, split, problem.example, problem.message)
