"""One validation image with the predictions of every row, and the meaning of its colours."""

import base64
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.record.sample_pictures import Kind, read_sample, sample_file
from ocnet_pl.table import Row, Table

_INPUT = "Input"


def pictures(table: Table) -> list[tuple[str, str]]:
    """(caption, data URI) of the image, its truth, and the prediction of each row's first seed."""
    return [
        (caption, "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode())
        for caption, path in _files(table)
    ]


def colours(table: Table) -> list[tuple[str, str]]:
    """(class, `#rrggbb`) of the classes in these pictures, in the order of the data set."""
    names = next((list(e.iou) for result in table.results for e in result.evaluations.values() if e.iou), [])
    return named_colours([read_sample(path) for caption, path in _files(table) if caption != _INPUT], names)


def named_colours(pictures: Iterable[Image.Image], names: Sequence[str]) -> list[tuple[str, str]]:
    """(class, `#rrggbb`) of the train ids in pictures, in their order; empty if one has no train ids."""
    found: dict[int, str] = {}
    for picture in pictures:
        if picture.mode != "P":  # older versions kept colours instead of train ids
            return []
        palette = picture.getpalette() or []
        for class_id in map(int, np.unique(np.asarray(picture))):
            if rgb := bytes(palette[3 * class_id : 3 * class_id + 3]):  # else the palette lacks this colour
                found[class_id] = f"#{rgb.hex()}"
    return [
        ("not labelled" if class_id == IGNORE else names[class_id], colour)
        for class_id, colour in sorted(found.items())
        if class_id == IGNORE or class_id < len(names)
    ]


def _files(table: Table) -> list[tuple[str, Path]]:
    drawn = [row for row in table.rows if row.results]
    name = next((result.samples[0] for row in drawn for result in row.results.values() if result.samples), None)
    if name is None:
        return []
    paths = [(_INPUT, _path(drawn[0], name, "input")), ("Truth", _path(drawn[0], name, "truth"))]
    paths += [(row.label, _path(row, name, "prediction")) for row in drawn]
    return [(caption, path) for caption, path in paths if _is_whole(path)]


def _path(row: Row, name: str, kind: Kind) -> Path:
    return sample_file(row.results[min(row.results)].directory, name, kind)


def _is_whole(path: Path) -> bool:
    """Return whether a picture exists; the table's notes report damaged ones."""
    try:
        return path.is_file() and bool(read_sample(path))
    except UserError:
        return False
