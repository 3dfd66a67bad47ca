"""Validation images in which a row gains and loses most against the baseline, with a map of the differences."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.drawing.error_map import FIRST, NEITHER, SECOND, contrast, only_right
from ocnet_pl.drawing.numbers import signed
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import mean_iou
from ocnet_pl.record.image_counts import SavedCounts
from ocnet_pl.record.result import Result
from ocnet_pl.record.sample_pictures import Kind, read_sample, sample_file
from ocnet_pl.report.row_counts import row_counts
from ocnet_pl.report.samples import named_colours
from ocnet_pl.table import Row, Table

MOST = 3
"""Images with gains, and images with losses."""
_SMALL = 2**16
"""Pixels up to which a picture is stored without loss."""


@dataclass(frozen=True)
class ImageDifference:
    """An image and its pictures.

    Attributes:
        name: name of the image.
        caption: the difference in words.
        pictures: caption and data URI of the image, its truth, both predictions and the map of their differences.
        ids: the truth and the predictions.
    """

    name: str
    caption: str
    pictures: list[tuple[str, str]]
    ids: list[Image.Image]


@dataclass(frozen=True)
class Gains:
    """Images that differ most between a row and the baseline.

    Attributes:
        row, baseline: names of the rows.
        gains, losses: images, the largest differences first.
        kept, of: number of images with pictures, and of tested images.
        colours: meaning of the colours of the map.
        classes: classes in the pictures and their colours.
    """

    row: str
    baseline: str
    gains: list[ImageDifference]
    losses: list[ImageDifference]
    kept: int
    of: int
    colours: list[tuple[str, str]]
    classes: list[tuple[str, str]]


@dataclass(frozen=True)
class _Shown:
    """A row, the mIoU of every image over its seeds (images,), and the run whose pictures are shown."""

    row: Row
    counts: SavedCounts
    over_seeds: NDArray[np.float64]
    first: Result


def gains(table: Table) -> Gains | None:
    """Images in which the highest row differs most from the baseline; None if no pictures of both are kept.

    Images are ranked by their mIoU, the mean over seeds. The pictures are of the first seed.
    """
    base = next((row for row in table.rows if row.name == table.baseline), None)
    others = [row for row in table.rows if row.cells[table.main_column].difference is not None]
    if base is None or not others:
        return None
    highest = max(others, key=lambda row: row.cells[table.main_column].ours.mean)
    one, two = _shown(table, highest), _shown(table, base)
    if one is None or two is None or not one.counts.is_of_the_same_images(two.counts):
        return None
    difference = 100 * (one.over_seeds - two.over_seeds)
    places = [place for place in _with_pictures(one, two) if not np.isnan(difference[place])]
    ranked = sorted(places, key=lambda place: -difference[place])
    found = (
        [_of_image(one, two, place, difference[place]) for place in chosen]
        for chosen in (
            [place for place in ranked if difference[place] > 0][:MOST],
            [place for place in ranked[::-1] if difference[place] < 0][:MOST],
        )
    )
    gained, lost = ([image for image in of if image is not None] for of in found)
    if not gained and not lost:
        return None
    return Gains(
        row=highest.label,
        baseline=base.label,
        gains=gained,
        losses=lost,
        kept=len(places),
        of=len(difference),
        colours=[
            (f"only {highest.label} is right", _hex(FIRST)),
            (f"only {base.label} is right", _hex(SECOND)),
            ("both wrong, and different", _hex(NEITHER)),
        ],
        classes=named_colours([ids for image in (*gained, *lost) for ids in image.ids], one.counts.classes),
    )


def _shown(table: Table, row: Row) -> _Shown | None:
    kept = row_counts(table, row)
    if kept is None:
        return None
    return _Shown(row, kept[0], np.mean([mean_iou(counts.counts) for counts in kept], axis=0), row.counted[0])


def _with_pictures(one: _Shown, two: _Shown) -> list[int]:
    """Places of the images of which both runs keep pictures, by name; names that repeat are left out."""
    stems = [Path(name).stem for name in one.counts.images]
    kept, count = set(one.first.samples) & set(two.first.samples), Counter(stems)
    return [place for place, stem in enumerate(stems) if stem in kept and count[stem] == 1]


def _of_image(one: _Shown, two: _Shown, place: int, difference: float) -> ImageDifference | None:
    """Pictures of an image; None if one is missing or damaged, or of a version that kept no train ids."""
    name = Path(one.counts.images[place]).stem
    kinds: Sequence[tuple[_Shown, Kind]] = (
        (one, "input"),
        (one, "truth"),
        (two, "prediction"),
        (one, "prediction"),
    )
    try:
        image, truth, second, first = (read_sample(sample_file(of.first.directory, name, kind)) for of, kind in kinds)
    except UserError:  # missing, or damaged and reported in the table's notes
        return None
    if any(ids.mode != "P" or ids.size != image.size for ids in (truth, first, second)):
        return None
    photograph = np.asarray(image.convert("RGB"))
    ids = [np.asarray(picture) for picture in (truth, first, second)]
    gained, lost = (f"{100 * share:.1f} %" for share in only_right(*ids))
    differences = f"Only {one.row.label} is right in {gained} of the pixels, only {two.row.label} in {lost}"
    return ImageDifference(
        name,
        f"{signed(difference)} points",
        [
            ("Image", _uri(Image.fromarray(photograph))),
            ("Truth", _uri(truth)),
            (two.row.label, _uri(second)),
            (one.row.label, _uri(first)),
            (differences, _uri(Image.fromarray(contrast(photograph, *ids)))),
        ],
        [truth, first, second],
    )


def _uri(picture: Image.Image) -> str:
    """Data URI: PNG for small pictures and for those with a palette, else JPEG."""
    small = picture.mode == "P" or picture.width * picture.height <= _SMALL
    kind = "png" if small else "jpeg"
    buffer = io.BytesIO()
    picture.save(buffer, kind, optimize=True, **({} if small else {"quality": 88, "subsampling": 0}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _hex(colour: tuple[int, int, int]) -> str:
    return f"#{bytes(colour).hex()}"
