"""What a network predicts, as files: masks, overlays, probabilities, and a submission's archive."""

import json
import zipfile
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
"""Keyword of a PNG's text."""
Kind = Literal["mask", "overlay", "probabilities"]
Files = Mapping[Kind, Path]
"""Where what is known of one picture goes."""


def files_of(folder: Path, name: str, *, overlay: bool, probabilities: bool) -> Files:
    """`masks/<name>.png`, and if wanted `overlays/<name>.jpg` and `probabilities/<name>.npz`."""
    files: dict[Kind, Path] = {"mask": folder / "masks" / f"{name}.png"}
    if overlay:
        files["overlay"] = folder / "overlays" / f"{name}.jpg"
    if probabilities:
        files["probabilities"] = folder / "probabilities" / f"{name}.npz"
    return files


def refuse_loss(results: Sequence[Path], pictures: Iterable[Path], *, overwrite: bool) -> None:
    """Before the first result is written.

    Raises:
        UserError: two results would be one file; one would replace a picture, or, unless `overwrite`, what is there.
    """
    if len(set(results)) < len(results):
        twice = next(path for path in results if results.count(path) > 1)
        raise UserError(f"{twice}: the result of two images; give them names of their own")
    there = [path for path in results if path.exists()]
    originals = {path.resolve() for path in pictures} if there else set()
    if lost := next((path for path in there if path.resolve() in originals), None):
        raise UserError(f"{lost}: is one of the pictures, and would be replaced by its result; give another --out")
    if there and not overwrite:
        more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise UserError(f"{there[0]}{more} there already; give another --out, or --overwrite")


def write_mask(
    path: Path, stored: NDArray[np.uint8], colours: NDArray[np.uint8] | None, origin: Plain | None = None
) -> None:
    """Write stored ids (H, W) as a PNG of one 8-bit channel.

    Args:
        path: of the file.
        stored: the ids.
        colours: how it is seen, (256, 3).
        origin: what the mask was made with; `mask_origin` reads it back.
    """
    image = Image.fromarray(stored) if colours is None else paletted(stored, colours)
    chunks = PngInfo()
    if origin is not None:
        chunks.add_text(_ORIGIN, json.dumps(origin, sort_keys=True))
    with result_file(path) as file:
        image.save(file, "PNG", pnginfo=chunks)


def mask_origin(path: Path) -> Plain | None:
    """What a mask was made with; None for a file that is not there, or not one of ours."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            origin = json.loads(image.info[_ORIGIN])
    except Exception:  # whatever it is, it is not ours
        return None
    return origin if isinstance(origin, dict) else None


def write_overlay(path: Path, picture: Picture) -> None:
    """RGB (H, W, 3) as a JPEG."""
    with result_file(path) as file:
        Image.fromarray(picture).save(file, "JPEG", quality=90, subsampling=0)  # colours end where classes end


def write_probabilities(path: Path, probabilities: NDArray[np.float16], classes: Sequence[str]) -> None:
    """A compressed npz: `probabilities` (K, H, W) float16, in the order of `classes` (K,)."""
    with result_file(path) as file:
        np.savez_compressed(file, probabilities=probabilities, classes=np.array(classes))


def write_archive(path: Path, folder: Path, members: Iterable[Path]) -> None:
    """A zip of files, under their names below a folder."""
    with result_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed
        for member in members:
            archive.write(member, member.relative_to(folder))


@contextmanager
def result_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); give another --out, or make room"
        ) from error
