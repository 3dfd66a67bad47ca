"""Files -> arrays. A file that cannot be read is named in one line."""

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.errors import UserError

Bytes = NDArray[np.uint8]
Pair = tuple[Path, Path]
"""Files of an image and of its label."""
Window = tuple[tuple[int, int], tuple[int, int]]
"""(top, bottom) and (left, right) of a part of an image."""
Wanted = Callable[[int, int], Window]
"""(height, width) of an image -> the part of it that will be looked at."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Of photographs, in a folder that holds other files too."""
IMAGE_MODES = ("RGB", "L", "P", "RGBA", "LA")
LABEL_MODES = ("L", "P")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_HEADER_BYTES = 33  # signature and IHDR
_GREY, _RGB = 0, 2
_WORTH_STOPPING = 0.9
"""Pillow's detour through four bytes a pixel costs as much as decoding a tenth of the rows."""
_COMMON_CHUNKS = {b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"sBIT", b"bKGD"}


def read_image(path: Path) -> Bytes:
    """Photograph -> RGB (H, W, 3) uint8; grey-scale becomes RGB."""
    return decode_image(path, content(path))


def read_label(path: Path) -> Bytes:
    """Single-channel 8-bit image (grey or palette) -> stored ids (H, W) uint8."""
    return decode_label(path, content(path))


def read_pair(pair: Pair, wanted: Wanted | None = None) -> tuple[Bytes, Bytes]:
    """Image (H, W, 3) and stored ids (H, W), which must be of one size.

    Args:
        pair: files of image and label.
        wanted: which part of them will be looked at; outside it they may hold anything. None: all.
    """
    image = decode_image(pair[0], content(pair[0]), wanted)
    label = decode_label(pair[1], content(pair[1]), wanted)
    refuse_other_size(pair, image.shape, label.shape)
    return image, label


def refuse_missing_label(pair: Pair) -> None:
    """Before a file is opened that is not there.

    Raises:
        UserError: the label is missing.
    """
    if not pair[1].is_file():
        raise UserError(f"{pair[0]}: image without its label; expected {pair[1]}")


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, from its header alone."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except Exception as error:  # as in decoding
        raise UserError(f"{path}: cannot be decoded, truncated or not an image; copy it again") from error


def refuse_other_size(pair: Pair, image: Sequence[int], label: Sequence[int]) -> None:
    """Shapes (H, W, ...) of an image and of its label.

    Raises:
        UserError: they differ.
    """
    if tuple(image[:2]) != tuple(label[:2]):
        raise UserError(
            f"{pair[1]}: label is {label[1]}x{label[0]} but its image "
            f"{pair[0].name} is {image[1]}x{image[0]}; they must be of one size"
        )


def content(path: Path) -> bytes:
    """What is in a file.

    Raises:
        UserError: nothing is, or there is no such file.
    """
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if not found:
        raise UserError(f"{path}: empty file; copy it again")
    return found


def decode_image(path: Path, found: bytes, wanted: Wanted | None = None) -> Bytes:
    """What `read_image` gives, of a file whose content is known."""
    if (header := _plain_png(found)) and header.colour == _RGB:
        decoded = _decode_png(path, found, header, wanted, cv2.IMREAD_COLOR_RGB)
        if decoded is not None:
            return decoded
    image = _decode(path, found, IMAGE_MODES, "8 bits a channel, colour or grey")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def decode_label(path: Path, found: bytes, wanted: Wanted | None = None) -> Bytes:
    """What `read_label` gives, of a file whose content is known."""
    if (header := _plain_png(found)) and header.colour == _GREY:
        decoded = _decode_png(path, found, header, wanted, cv2.IMREAD_GRAYSCALE)
        if decoded is not None:
            return decoded
    return np.asarray(_decode(path, found, LABEL_MODES, "one 8-bit channel of class ids"))


def opencv(found: bytes, flags: int) -> Bytes | None:
    """OpenCV's decoder: no copy into another layout follows it, as one follows Pillow's. None: it cannot."""
    try:
        decoded = cv2.imdecode(np.frombuffer(found, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)


def pillow(found: bytes, rows: int | None = None) -> Image.Image:
    """Pillow's decoder, which knows everything, refuses what is cut short, and can stop after so many rows of a PNG."""
    with Image.open(io.BytesIO(found)) as image:
        if rows is not None:
            image.tile = [tile._replace(extents=(0, 0, image.width, rows)) for tile in image.tile]
        image.load()
    return image


class _Header(NamedTuple):
    height: int
    width: int
    colour: int


def _plain_png(found: bytes) -> _Header | None:
    """Of a PNG of 8 bits without animation, transparency, palette or interlacing, whose end is there; else None.

    OpenCV is given nothing else: it turns palettes into colours and prints to stderr about a file that is cut short.
    """
    if not (found.startswith(_SIGNATURE) and found.endswith(_END) and len(found) > _HEADER_BYTES):
        return None
    position = len(_SIGNATURE)
    while (kind := found[position + 4 : position + 8]) in _COMMON_CHUNKS:
        position += 12 + int.from_bytes(found[position : position + 4])
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", found[16:29])
    return _Header(height, width, colour) if kind == b"IDAT" and depth == 8 and not interlaced else None


def _decode_png(path: Path, found: bytes, header: _Header, wanted: Wanted | None, flags: int) -> Bytes | None:
    (top, bottom), (left, right) = wanted(header.height, header.width) if wanted else ((0, header.height), (0, 0))
    if bottom > _WORTH_STOPPING * header.height:
        return opencv(found, flags)
    part = np.asarray(_load(path, found, bottom).crop((left, top, right, bottom)))
    whole = np.empty((header.height, header.width, *part.shape[2:]), np.uint8)  # untouched memory costs nothing
    whole[top:bottom, left:right] = part
    return whole


def _decode(path: Path, found: bytes, modes: tuple[str, ...], expected: str) -> Image.Image:
    image = _load(path, found)
    if image.mode not in modes:
        raise UserError(f"{path}: image of mode {image.mode}, expected {expected}; convert it")
    return image


def _load(path: Path, found: bytes, rows: int | None = None) -> Image.Image:
    try:
        return pillow(found, rows)
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: too many pixels for one image; cut it into tiles") from error
    except Exception as error:  # a damaged file makes Pillow raise all kinds
        raise UserError(f"{path}: cannot be decoded, truncated or not an image; copy it again") from error
