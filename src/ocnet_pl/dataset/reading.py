"""Files -> arrays. A file that cannot be read is named in one line."""

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from ocnet_pl.dataset.headers import (
    MOST_PIXELS,
    PNG_SIGNATURE,
    bits_of,
    open_image,
    orientation_of,
    refuse_damaged_png,
    refuse_lossy_label,
    refuse_what_is_not_read,
    too_many_pixels,
    undecodable,
)
from ocnet_pl.dataset.listing import is_file, unreadable
from ocnet_pl.dataset.stored_ids import stored_ids
from ocnet_pl.errors import UserError

Bytes = NDArray[np.uint8]
Pair = tuple[Path, Path]
"""Files of an image and of its label."""
Window = tuple[tuple[int, int], tuple[int, int]]
"""(top, bottom) and (left, right) of a part of an image."""
Wanted = Callable[[int, int], Window]
"""(height, width) of an image -> the part of it that will be looked at."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of photographs, in a folder that holds other files too."""
IMAGE_MODES = ("RGB", "L", "P", "RGBA", "LA")
LABEL_MODES = ("L", "P")

_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_HEADER_BYTES = 33  # signature and IHDR
_GREY, _RGB = 0, 2
_WORTH_STOPPING = 0.9
"""Pillow's detour through four bytes a pixel costs as much as decoding a tenth of the rows."""
_COMMON_CHUNKS = {b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"sBIT", b"bKGD"}


def read_image(path: Path) -> Bytes:
    """Photograph -> RGB (H, W, 3) uint8; grey-scale becomes RGB. The orientation that EXIF data ask for is ignored."""
    return decode_image(path, content(path))


def read_label(path: Path, table: Bytes) -> Bytes:
    """Single-channel image of at most 8 bits (grey or palette), without loss -> stored ids (H, W) uint8.

    Args:
        path: file of the label.
        table: stored id -> train id, (256,). It decides where a file can be read in two ways.

    Raises:
        UserError: another kind of file, or one that can be read in two ways even so.
    """
    return decode_label(path, content(path), table)


def read_pair(pair: Pair, table: Bytes, wanted: Wanted | None = None) -> tuple[Bytes, Bytes]:
    """Image (H, W, 3) and stored ids (H, W), which must be of one size.

    Args:
        pair: files of image and label.
        table: stored id -> train id, (256,).
        wanted: part of them that will be looked at; outside it they may hold anything. None: all.
    """
    found = content(pair[0])
    image = decode_image(pair[0], found, wanted)
    label = decode_label(pair[1], content(pair[1]), table, wanted)
    refuse_other_size(pair, found, image.shape, label.shape)
    return image, label


def refuse_missing_label(pair: Pair) -> None:
    """Before a file is opened that is not there.

    Raises:
        UserError: the label is missing.
    """
    if not is_file(pair[1]):
        raise UserError(f"{pair[0]}: image without its label; expected {pair[1]}")


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, from its header alone."""
    try:
        with path.open("rb") as file:
            image = open_image(path, file)
            return image.height, image.width
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise unreadable(path, error) from error


def refuse_other_size(pair: Pair, found: bytes, image: Sequence[int], label: Sequence[int]) -> None:
    """Refuse a label that does not cover its image.

    Args:
        pair: files of image and label.
        found: content of the image file.
        image: shape (H, W, ...) of the image.
        label: shape (H, W) of the label.

    Raises:
        UserError: they differ.
    """
    if tuple(image[:2]) != tuple(label[:2]):
        orientation = orientation_of(pair[0], io.BytesIO(found))
        turned = f" (its EXIF orientation {orientation} is ignored)" if orientation > 1 else ""
        raise UserError(
            f"{pair[1]}: label is {label[1]}x{label[0]} but its image "
            f"{pair[0].name} is {image[1]}x{image[0]}{turned}; they must be of one size"
        )


def content(path: Path) -> bytes:
    """Bytes of a file.

    Raises:
        UserError: an empty file, or no such file.
    """
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise unreadable(path, error) from error
    if not found:
        raise UserError(f"{path}: empty file; copy it again")
    return found


def decode_image(path: Path, found: bytes, wanted: Wanted | None = None) -> Bytes:
    """Decode the content of an image file as `read_image` does."""
    refuse_damaged_png(path, found)
    if (header := _plain_png(path, found)) and header.colour == _RGB:
        decoded = _decode_png(path, found, header, wanted, cv2.IMREAD_COLOR_RGB)
        if decoded is not None:
            return decoded
    image = open_image(path, io.BytesIO(found))
    with _damage_named(path):
        refuse_what_is_not_read(path, image, IMAGE_MODES, "8 bits a channel, colour or grey")
        whole = pillow(image)
        return np.asarray(whole if whole.mode == "RGB" else whole.convert("RGB"))


def decode_label(path: Path, found: bytes, table: Bytes, wanted: Wanted | None = None) -> Bytes:
    """Decode the content of a label file as `read_label` does."""
    refuse_damaged_png(path, found)
    if (header := _plain_png(path, found)) and header.colour == _GREY:
        decoded = _decode_png(path, found, header, wanted, cv2.IMREAD_GRAYSCALE)
        if decoded is not None:
            return decoded
    image = open_image(path, io.BytesIO(found))
    with _damage_named(path):
        refuse_lossy_label(path, image)
        refuse_what_is_not_read(path, image, LABEL_MODES, "one 8-bit channel of class ids")
        bits = bits_of(image)
        return stored_ids(path, pillow(image), bits, table)


def opencv(found: bytes, flags: int) -> Bytes | None:
    """OpenCV's decoder: no copy into another layout follows it, as one follows Pillow's. None: it cannot."""
    try:
        decoded = cv2.imdecode(np.frombuffer(found, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)


def pillow(image: ImageFile, rows: int | None = None) -> ImageFile:
    """Pillow's decoder, which knows everything, refuses what is cut short, and can stop after so many rows of a PNG."""
    if rows is not None:
        image.tile = [tile._replace(extents=(0, 0, image.width, rows)) for tile in image.tile]
    image.load()
    return image


class _Header(NamedTuple):
    height: int
    width: int
    colour: int


def _plain_png(path: Path, found: bytes) -> _Header | None:
    """Header of a PNG of 8 bits without animation, transparency, palette or interlacing, whose end is there; else None.

    OpenCV is given nothing else: it turns palettes into colours and prints to stderr about a file that is cut short.
    """
    if not (found.startswith(PNG_SIGNATURE) and found.endswith(_END) and len(found) > _HEADER_BYTES):
        return None
    position = len(PNG_SIGNATURE)
    while (kind := found[position + 4 : position + 8]) in _COMMON_CHUNKS:
        position += 12 + int.from_bytes(found[position : position + 4])
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", found[16:29])
    if width * height > MOST_PIXELS:
        raise too_many_pixels(path)
    return _Header(height, width, colour) if kind == b"IDAT" and depth == 8 and not interlaced else None


def _decode_png(path: Path, found: bytes, header: _Header, wanted: Wanted | None, flags: int) -> Bytes | None:
    (top, bottom), (left, right) = wanted(header.height, header.width) if wanted else ((0, header.height), (0, 0))
    if bottom > _WORTH_STOPPING * header.height:
        return opencv(found, flags)
    image = open_image(path, io.BytesIO(found))
    with _damage_named(path):
        part = np.asarray(pillow(image, bottom).crop((left, top, right, bottom)))
    whole = np.empty((header.height, header.width, *part.shape[2:]), np.uint8)  # untouched memory costs nothing
    whole[top:bottom, left:right] = part
    return whole


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Damaged files make Pillow raise all kinds of exceptions."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise undecodable(path) from error
