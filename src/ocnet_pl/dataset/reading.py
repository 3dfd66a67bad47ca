"""Files -> arrays. A file that cannot be read is named in one line."""

import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ocnet_pl.errors import UserError

Bytes = NDArray[np.uint8]
Pair = tuple[Path, Path]
"""Files of an image and of its label."""

IMAGE_MODES = ("RGB", "L", "P", "RGBA", "LA")
LABEL_MODES = ("L", "P")

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_HEADER_BYTES = 26  # signature, IHDR with width and height, bit depth, colour type
_GREY_8, _RGB_8 = (8, 0), (8, 2)
_COMMON_CHUNKS = {b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"sBIT", b"bKGD"}


def read_image(path: Path) -> Bytes:
    """Photograph -> RGB (H, W, 3) uint8; grey-scale becomes RGB."""
    return decode_image(path, content(path))


def read_label(path: Path) -> Bytes:
    """Single-channel 8-bit image (grey or palette) -> stored ids (H, W) uint8."""
    return decode_label(path, content(path))


def read_pair(pair: Pair) -> tuple[Bytes, Bytes]:
    """Image (H, W, 3) and stored ids (H, W), which must be of one size."""
    image, label = read_image(pair[0]), read_label(pair[1])
    refuse_other_size(pair, image.shape, label.shape)
    return image, label


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


def decode_image(path: Path, found: bytes) -> Bytes:
    """What `read_image` gives, of a file whose content is known."""
    if _plain_png(found) == _RGB_8:
        decoded = opencv(found, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if decoded is not None:
            return decoded
    image = _decode(path, found, IMAGE_MODES, "8 bits a channel, colour or grey")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def decode_label(path: Path, found: bytes) -> Bytes:
    """What `read_label` gives, of a file whose content is known."""
    if _plain_png(found) == _GREY_8:
        decoded = opencv(found, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if decoded is not None:
            return decoded
    return np.asarray(_decode(path, found, LABEL_MODES, "one 8-bit channel of class ids"))


def opencv(found: bytes, flags: int) -> Bytes | None:
    """OpenCV's decoder: no copy into another layout follows it, as one follows Pillow's. None: it cannot."""
    try:
        decoded = cv2.imdecode(np.frombuffer(found, np.uint8), flags)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)


def pillow(found: bytes) -> Image.Image:
    """Pillow's decoder, which knows everything and refuses what is cut short."""
    with Image.open(io.BytesIO(found)) as image:
        image.load()
    return image


def _plain_png(found: bytes) -> tuple[int, int] | None:
    """Bit depth and colour type of a PNG without animation, transparency or palette, whose end is there; else None.

    OpenCV is given nothing else: it turns palettes into colours and prints to stderr about a file that is cut short.
    """
    if not (found.startswith(_SIGNATURE) and found.endswith(_END) and len(found) > _HEADER_BYTES):
        return None
    position = len(_SIGNATURE)
    while (kind := found[position + 4 : position + 8]) in _COMMON_CHUNKS:
        position += 12 + int.from_bytes(found[position : position + 4])
    return (found[24], found[25]) if kind == b"IDAT" else None


def _decode(path: Path, found: bytes, modes: tuple[str, ...], expected: str) -> Image.Image:
    try:
        image = pillow(found)
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: too many pixels for one image; cut it into tiles") from error
    except Exception as error:  # a damaged file makes Pillow raise all kinds
        raise UserError(f"{path}: cannot be decoded, truncated or not an image; copy it again") from error
    if image.mode not in modes:
        raise UserError(f"{path}: image of mode {image.mode}, expected {expected}; convert it")
    return image
