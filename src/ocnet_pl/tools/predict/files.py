"""Files of a prediction: masks, overlays and probabilities."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ocnet_pl.atomic import whole_file
from ocnet_pl.drawing.overlay import Picture, paletted
from ocnet_pl.errors import UserError
from ocnet_pl.record.identity import Plain

_ORIGIN = "ocnet_pl"
"""Keyword of the PNG text that records the origin of a mask."""
Kind = Literal["mask", "overlay", "probabilities"]
Files = Mapping[Kind, Path]
"""Result files of one image."""


def files_of(folder: Path, name: str, *, overlay: bool, probabilities: bool) -> Files:
    """`masks/<name>.png`, and if requested `overlays/<name>.jpg` and `probabilities/<name>.npz`."""
    files: dict[Kind, Path] = {"mask": folder / "masks" / f"{name}.png"}
    if overlay:
        files["overlay"] = folder / "overlays" / f"{name}.jpg"
    if probabilities:
        files["probabilities"] = folder / "probabilities" / f"{name}.npz"
    return files


def refuse_overwrite(results: Sequence[Path], images: Iterable[Path], *, overwrite: bool) -> None:
    """Check all result files before the first is written.

    Raises:
        UserError: two images have the same result file, a result would replace an input image, or a result exists
            and `overwrite` is false.
    """
    if len(set(results)) < len(results):
        twice = next(path for path in results if results.count(path) > 1)
        raise UserError(f"{twice}: is the result of two images; rename one of the images")
    existing = [path for path in results if path.exists()]
    inputs = {path.resolve() for path in images} if existing else set()
    if lost := next((path for path in existing if path.resolve() in inputs), None):
        raise UserError(f"{lost}: the result would overwrite an input image; choose another --out")
    if existing and not overwrite:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise UserError(f"{existing[0]}{more}: already exists; choose another --out, or add --overwrite")


def write_mask(
    path: Path, stored: NDArray[np.uint8], colours: NDArray[np.uint8] | None, origin: Plain | None = None
) -> None:
    """Write stored ids (H, W) as a PNG of one 8-bit channel with a palette (256, 3); `mask_origin` reads the origin."""
    image = Image.fromarray(stored) if colours is None else paletted(stored, colours)
    chunks = PngInfo()
    if origin is not None:
        chunks.add_text(_ORIGIN, json.dumps(origin, sort_keys=True))
    with result_file(path) as file:
        image.save(file, "PNG", pnginfo=chunks)


def mask_origin(path: Path) -> Plain | None:
    """Origin that a mask records; None for a missing file or one that `ocnet-predict` did not write."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            origin = json.loads(image.info[_ORIGIN])
    except Exception:  # any other file
        return None
    return origin if isinstance(origin, dict) else None


def write_overlay(path: Path, image: Picture) -> None:
    """Write RGB (H, W, 3) as a JPEG."""
    with result_file(path) as file:
        Image.fromarray(image).save(file, "JPEG", quality=90, subsampling=0)  # sharp borders between colours


def write_probabilities(path: Path, probabilities: NDArray[np.float16], classes: Sequence[str]) -> None:
    """Write a compressed npz: `probabilities` (K, H, W) float16 and the names `classes` (K,)."""
    with result_file(path) as file:
        np.savez_compressed(file, probabilities=probabilities, classes=np.array(classes))


@contextmanager
def result_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that is written atomically.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); choose another --out, or free some space"
        ) from error
