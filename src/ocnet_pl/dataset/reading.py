"""Image and label files -> arrays. A file that cannot be read is reported in one line."""

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from kornia_rs.io import decode_image_png_u8
from numpy.typing import NDArray
from PIL.ImageFile import ImageFile

from ocnet_pl.dataset.headers import (
    MAX_PIXELS,
    PNG_SIGNATURE,
    bits_per_sample,
    open_image,
    orientation_of,
    refuse_damaged_png,
    refuse_lossy_label,
    refuse_other_format,
    refuse_wrong_rows,
    too_many_pixels,
    undecodable,
)
from ocnet_pl.dataset.listing import is_file
from ocnet_pl.dataset.stored_ids import stored_ids
from ocnet_pl.errors import UserError, readable_os_errors

Bytes = NDArray[np.uint8]
Pair = tuple[Path, Path]
"""Files of an image and of its label."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of photographs, in a folder that contains other files too."""
IMAGE_MODES = ("RGB", "L", "P", "RGBA", "LA")
LABEL_MODES = ("L", "P")

_END = b"\0\0\0\0IEND\xae\x42\x60\x82"
_HEADER_BYTES = 33  # signature and IHDR
_GREY, _RGB = 0, 2
_COMMON_CHUNKS = {b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"sBIT", b"bKGD"}


def read_image(path: Path) -> Bytes:
    """Photograph -> RGB (H, W, 3) uint8; grey-scale becomes RGB. EXIF orientation is ignored."""
    return decode_image(path, content(path))


def read_label(path: Path, table: Bytes) -> Bytes:
    """Lossless single-channel image of at most 8 bits (grey or palette) -> stored ids (H, W) uint8.

    Args:
        path: file of the label.
        table: stored id -> train id, (256,). It decides between two possible readings of a file.

    Raises:
        UserError: another kind of file, or a file that stays ambiguous.
    """
    return decode_label(path, content(path), table)


def read_pair(pair: Pair, table: Bytes) -> tuple[Bytes, Bytes]:
    """Image (H, W, 3) and stored ids (H, W), which must be of one size; see `read_image` and `read_label`."""
    encoded = content(pair[0])
    image, label = decode_image(pair[0], encoded), read_label(pair[1], table)
    refuse_other_size(pair, encoded, image.shape, label.shape)
    return image, label


def read_16_bit(path: Path) -> NDArray[np.uint16]:
    """PNG with one channel of 16 bits, e.g. disparities -> its values (H, W).

    Raises:
        UserError: another kind of file, or a damaged one.
    """
    encoded = content(path)
    refuse_damaged_png(path, encoded)
    refuse_wrong_rows(path, encoded)
    with _damage_reported(path):
        image = open_image(path, io.BytesIO(encoded))
        bits = bits_per_sample(image)
        if image.format != "PNG" or bits != 16 or image.mode not in ("I;16", "I"):
            kind = f"{image.format} of mode {image.mode} with {bits} bits per sample"
            raise UserError(f"{path}: {kind}, expected a PNG with one channel of 16 bits; copy the original file")
        return np.asarray(pillow(image)).astype(np.uint16)


def read_size(path: Path) -> tuple[int, int]:
    """(height, width) of an image, from its header alone."""
    with readable_os_errors(path), path.open("rb") as file:
        image = open_image(path, file)
        return image.height, image.width


def refuse_missing_label(pair: Pair) -> None:
    """Check that the label file exists.

    Raises:
        UserError: the label is missing.
    """
    if not is_file(pair[1]):
        raise UserError(f"{pair[0]}: image without its label; expected {pair[1]}")


def refuse_other_size(pair: Pair, encoded: bytes, image: Sequence[int], label: Sequence[int]) -> None:
    """Check the shape of a label, (H, W), against that of its image, (H, W, ...), whose file contains `encoded`.

    Raises:
        UserError: they differ.
    """
    if tuple(image[:2]) != tuple(label[:2]):
        orientation = orientation_of(pair[0], io.BytesIO(encoded))
        ignored = f" (its EXIF orientation {orientation} is ignored)" if orientation > 1 else ""
        raise UserError(
            f"{pair[1]}: label is {label[1]}x{label[0]} but its image "
            f"{pair[0].name} is {image[1]}x{image[0]}{ignored}; they must be of one size"
        )


def content(path: Path) -> bytes:
    """Bytes of a file.

    Raises:
        UserError: an empty file, or no such file.
    """
    with readable_os_errors(path):
        encoded = path.read_bytes()
    if not encoded:
        raise UserError(f"{path}: empty file; copy it again")
    return encoded


def decode_image(path: Path, encoded: bytes) -> Bytes:
    """Decode the content of an image file as `read_image` does."""
    if (colour := _plain_png(path, encoded)) == _RGB:
        return plain_png(path, encoded, "rgb")
    if colour == _GREY:
        return np.repeat(plain_png(path, encoded, "mono")[..., None], 3, 2)
    refuse_wrong_rows(path, encoded)
    with _damage_reported(path):
        image = open_image(path, io.BytesIO(encoded))
        refuse_other_format(path, image, IMAGE_MODES, "8 bits per channel, colour or grey")
        whole = pillow(image)
        return np.asarray(whole if whole.mode == "RGB" else whole.convert("RGB"))


def decode_label(path: Path, encoded: bytes, table: Bytes) -> Bytes:
    """Decode the content of a label file as `read_label` does."""
    if _plain_png(path, encoded) == _GREY:
        return plain_png(path, encoded, "mono")
    refuse_wrong_rows(path, encoded)
    with _damage_reported(path):
        image = open_image(path, io.BytesIO(encoded))
        refuse_lossy_label(path, image)
        refuse_other_format(path, image, LABEL_MODES, "one 8-bit channel of class ids")
        bits = bits_per_sample(image)
        return stored_ids(path, pillow(image), bits, table)


def plain_png(path: Path, encoded: bytes, mode: str) -> Bytes:
    """Decode a PNG as `_plain_png` finds it, in less than half of OpenCV's time.

    Args:
        path: file, for the error.
        encoded: its content, whose chunks were verified. The checksum of the decompressed rows is not verified here;
            `ocnet-data check` does so.
        mode: "rgb" for (H, W, 3), "mono" for (H, W).

    Raises:
        UserError: rows are missing or damaged.
    """
    width, height = struct.unpack(">II", encoded[16:24])
    try:
        decoded = decode_image_png_u8(encoded, (height, width), mode)
    except Exception as error:  # it raises no narrower class
        raise undecodable(path) from error
    return np.asarray(decoded, np.uint8).reshape(height, width, *([3] if mode == "rgb" else []))


def pillow(image: ImageFile) -> ImageFile:
    """Decode with Pillow, which reads all formats and refuses truncated files."""
    image.load()
    return image


def _plain_png(path: Path, encoded: bytes) -> int | None:
    """Colour type of a complete PNG of 8 bits without animation, transparency, palette or interlacing; else None.

    Pillow decodes all others.

    Raises:
        UserError: a damaged PNG, or too many pixels.
    """
    refuse_damaged_png(path, encoded)
    if not (encoded.startswith(PNG_SIGNATURE) and encoded.endswith(_END) and len(encoded) > _HEADER_BYTES):
        return None
    position = len(PNG_SIGNATURE)
    while (kind := encoded[position + 4 : position + 8]) in _COMMON_CHUNKS:
        position += 12 + int.from_bytes(encoded[position : position + 4])
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", encoded[16:29])
    if width * height > MAX_PIXELS:
        raise too_many_pixels(path)
    return int(colour) if kind == b"IDAT" and depth == 8 and not interlaced else None


@contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    """Turn the many exceptions that Pillow raises for damaged files into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise undecodable(path) from error
