"""Files as their headers describe them: what we decode, and what is refused before a pixel is."""

import io
import warnings
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from ocnet_pl.errors import UserError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
MOST_PIXELS = 178_956_970
"""Pixels of an image, Pillow's own limit: 0.5 GB in colour."""
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # at half of it
warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd EXIF data and tags, about which nobody can do anything
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_LOSSLESS_TIFF = {
    "raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd",
    "tiff_ccitt", "group3", "group4",
}  # fmt: skip
_BITS, _PHOTOMETRIC = 258, 262
"""Tags of a TIFF."""
_WHITE_IS_ZERO = 0
_UPRIGHT = 1
_TAIL = 1 << 16


def open_image(path: Path, source: BinaryIO) -> ImageFile:
    """Pillow's image of a file whose pixels are not decoded yet.

    Args:
        path: path for the message of an error.
        source: content of the file.

    Raises:
        UserError: no image, or one of too many pixels.
    """
    try:
        return Image.open(source, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise too_many_pixels(path) from None
    except Exception as error:  # a damaged file makes Pillow raise all kinds
        raise undecodable(path) from error


def undecodable(path: Path) -> UserError:
    """Error of a file that no decoder reads."""
    return UserError(
        f"{path}: cannot be decoded, truncated or not an image (PNG, JPEG, TIFF, BMP, WebP); copy it again"
    )


def too_many_pixels(path: Path) -> UserError:
    """Error of a file that would fill the memory."""
    return UserError(f"{path}: more than {MOST_PIXELS:,} pixels are too many for one image; cut it into tiles")


def refuse_damaged_png(path: Path, found: bytes) -> None:
    """Refuse a PNG of which a chunk does not have its checksum: decoders may give other pixels without a word.

    Args:
        path: path for the message of an error.
        found: content of the file; of another format than PNG it passes.

    Raises:
        UserError: a chunk is damaged or missing.
    """
    if not found.startswith(PNG_SIGNATURE):
        return
    view, position, kind = memoryview(found), len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        end = position + 8 + int.from_bytes(view[position : position + 4])
        kind = bytes(view[position + 4 : position + 8])
        if end + 4 > len(found) or zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise undecodable(path)
        position = end + 4


def refuse_what_is_not_read(path: Path, image: ImageFile, modes: tuple[str, ...], expected: str) -> None:
    """Refuse files of which the decoder would give a part: the first of several images, or the upper bits.

    Args:
        path: path for the message of an error.
        image: result of `open_image`.
        modes: Pillow's modes that are read.
        expected: the same in words.

    Raises:
        UserError: another mode, more than 8 bits a sample, several images in one file, or a turned TIFF, which Pillow
            turns (as it does no other file).
    """
    bits = bits_of(image)
    if image.mode not in modes or bits > 8:
        deep = f" with {bits} bits a sample" if bits > 8 else ""
        raise UserError(f"{path}: image of mode {image.mode}{deep}, expected {expected}; convert it")
    # Phones add previews and gain maps to a photograph (MPO); the first image is the photograph.
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if count > 1:
        raise UserError(f"{path}: contains {count} images (pages or frames), expected one; save each as a file")
    if image.format == "TIFF" and (orientation := _orientation(image)) != _UPRIGHT:
        raise UserError(f"{path}: TIFF with EXIF orientation {orientation}, expected 1; save it upright")


def refuse_lossy_label(path: Path, image: ImageFile) -> None:
    """Refuse labels whose compression changes ids, whatever they are called.

    Raises:
        UserError: JPEG, lossy WebP, TIFF with a lossy compression; a TIFF in which 0 is white, read as 255.
    """
    compression = str(image.info.get("compression", "raw"))
    if image.format in ("JPEG", "MPO"):
        lossy = "a JPEG"
    elif image.format == "WEBP" and b"VP8L" not in _start(image):
        lossy = "a lossy WebP"
    elif image.format == "TIFF" and compression not in _LOSSLESS_TIFF:
        lossy = f"a TIFF with {compression} compression"
    else:
        lossy = ""
    if lossy:
        raise UserError(f"{path}: label is {lossy}, which changes ids; make it again as PNG from what it was made of")
    if image.mode == "L" and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise UserError(f"{path}: label is a TIFF in which 0 is white, so that ids may be inverted; save it as PNG")


def bits_of(image: ImageFile) -> int:
    """Bits a sample in the file, which Pillow's mode does not tell; 8 where a format has no choice."""
    if image.format == "PNG":
        return _start(image)[24]
    if image.format == "TIFF":
        bits = _tag(image, _BITS)
        return max(bits) if isinstance(bits, tuple) else int(bits or 1)
    return 8


def orientation_of(path: Path, source: BinaryIO) -> int:
    """Orientation of an image by its EXIF or XMP data, 1 to 8; 1 is upright.

    Args:
        path: path for the message of an error.
        source: content of the file, of which the start and the last 64 KiB are read.

    Raises:
        UserError: no image.
    """
    image = open_image(path, source)
    behind = _exif_behind_pixels(source) if image.format == "PNG" else b""
    return _orientation(image, behind)


def turned_images(paths: Iterable[Path]) -> list[tuple[Path, int]]:
    """Images that viewers turn or mirror, with their orientation (2 to 8). Files that cannot be read are left out."""
    paths = list(paths)
    with ThreadPoolExecutor() as pool:
        found = list(zip(paths, pool.map(_orientation_of_file, paths), strict=True))
    return [(path, orientation) for path, orientation in found if orientation != _UPRIGHT]


def _orientation(image: ImageFile, exif_elsewhere: bytes = b"") -> int:
    try:
        exif = Image.Image.getexif(image)  # PNG's own method decodes the pixels first
        if exif_elsewhere and not exif:
            exif.load(exif_elsewhere)
    except Exception:  # damaged EXIF data, which viewers ignore as well
        return _UPRIGHT
    value = exif.get(ExifTags.Base.Orientation, _UPRIGHT)
    return int(value) if value in range(1, 9) else _UPRIGHT


def _orientation_of_file(path: Path) -> int:
    try:
        with path.open("rb") as file:
            return orientation_of(path, file)
    except (OSError, UserError):  # the reader says it better
        return _UPRIGHT


def _exif_behind_pixels(source: BinaryIO) -> bytes:
    """Content of the chunk `eXIf` near the end of a PNG; empty where it has none."""
    source.seek(max(0, source.seek(0, io.SEEK_END) - _TAIL))
    tail = source.read()
    position = tail.find(b"eXIf")
    return tail[position + 4 : position + 4 + int.from_bytes(tail[position - 4 : position])] if position >= 4 else b""


def _start(image: ImageFile) -> bytes:
    source = image.fp
    assert source is not None
    position = source.tell()
    source.seek(0)
    start = source.read(1 << 12)
    source.seek(position)
    return bytes(start)


def _tag(image: ImageFile, number: int) -> Any:
    return getattr(image, "tag_v2", {}).get(number)
