"""Headers of image files: formats that are read, files that are refused before decoding, EXIF orientation."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from ocnet_pl.errors import UserError

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF")
MAX_PIXELS = 178_956_970
"""Limit of pixels in an image, the same as Pillow's: 0.5 GB in colour."""
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # at half of it
warnings.filterwarnings("ignore", module=r"PIL\.")  # about odd EXIF data and tags
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_LOSSLESS_TIFF = {
    "raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd",
    "tiff_ccitt", "group3", "group4",
}  # fmt: skip
_BITS, _PHOTOMETRIC = 258, 262
"""TIFF tags."""
_WHITE_IS_ZERO = 0
_UPRIGHT = 1
_TAIL = _PIECE = 1 << 16
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Values of a pixel, by the colour type of a PNG."""
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row of each pass of an interlaced PNG, and the distances of its columns and rows."""


def open_image(path: Path, source: BinaryIO) -> ImageFile:
    """Open a file with Pillow, without decoding its pixels.

    Raises:
        UserError: not an image, or too many pixels; the message names `path`.
    """
    try:
        return Image.open(source, formats=_FORMATS)
    except Image.DecompressionBombError:
        raise too_many_pixels(path) from None
    except Exception as error:  # a damaged file makes Pillow raise all kinds
        raise undecodable(path) from error


def undecodable(path: Path) -> UserError:
    """Error for a file that no decoder reads."""
    return UserError(
        f"{path}: cannot be decoded, truncated or not an image (PNG, JPEG, TIFF, BMP, WebP); copy it again"
    )


def too_many_pixels(path: Path) -> UserError:
    """Error for an image that would fill the memory."""
    return UserError(f"{path}: more than {MAX_PIXELS:,} pixels, too many for one image; cut it into tiles")


def refuse_damaged_png(path: Path, encoded: bytes) -> None:
    """Check the checksum of every chunk of a PNG: decoders may silently give other pixels of a damaged file.

    Other formats pass.

    Raises:
        UserError: a chunk is damaged or missing.
    """
    for data, checksum in _chunks(path, encoded):
        if zlib.crc32(data) != checksum:
            raise undecodable(path)


def refuse_wrong_rows(path: Path, encoded: bytes) -> None:
    """Check the number of a PNG's rows, and their checksum; other formats pass.

    Pillow fills missing rows with zeros, and faster decoders leave out the checksum. The chunks must be sound
    (`refuse_damaged_png`): this finds what the program that wrote them did wrong.

    Raises:
        UserError: fewer bytes than the header says, or another checksum.
    """
    rows, decompressed, expected = zlib.decompressobj(), 0, 0
    try:
        for data, _ in _chunks(path, encoded):
            kind, rest = bytes(data[:4]), bytes(data[4:])
            if kind == b"IHDR":
                expected = _bytes_of_rows(rest)
            while kind == b"IDAT" and rest and not rows.eof:
                decompressed += len(rows.decompress(rest, _PIECE))  # a file may claim more rows than memory holds
                rest = rows.unconsumed_tail
    except (zlib.error, struct.error) as error:
        raise undecodable(path) from error
    if expected and not (rows.eof and decompressed >= expected):
        raise undecodable(path)


def _bytes_of_rows(header: bytes) -> int:
    """Bytes of all rows of a PNG with their filters, from the content of its first chunk."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    bits = depth * _CHANNELS.get(colour, 1)
    # An interlaced image is a sequence of smaller ones.
    passes = [
        (len(range(left, width, across)), len(range(top, height, down)))
        for left, top, across, down in (_ADAM7 if interlaced else ((0, 0, 1, 1),))
    ]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in passes if columns)


def _chunks(path: Path, encoded: bytes) -> Iterator[tuple[memoryview, int]]:
    """Kind and content of every chunk of a PNG, with its checksum; nothing for other formats.

    Raises:
        UserError: the last chunk is missing.
    """
    if not encoded.startswith(PNG_SIGNATURE):
        return
    view, position, kind = memoryview(encoded), len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        end = position + 8 + int.from_bytes(view[position : position + 4])
        if end + 4 > len(encoded):
            raise undecodable(path)
        kind = bytes(view[position + 4 : position + 8])
        yield view[position + 4 : end], int.from_bytes(view[end : end + 4])
        position = end + 4


def refuse_other_format(path: Path, image: ImageFile, modes: tuple[str, ...], expected: str) -> None:
    """Check that the decoder would return the whole content of a file as it is stored.

    Raises:
        UserError: another mode than `modes` (`expected` in words), more than 8 bits per sample, several images in one
            file, or a TIFF that is not upright (Pillow rotates TIFFs, and no other format).
    """
    bits = bits_per_sample(image)
    if image.mode not in modes or bits > 8:
        deep = f" with {bits} bits per sample" if bits > 8 else ""
        raise UserError(f"{path}: image of mode {image.mode}{deep}, expected {expected}; convert it")
    # Phones add previews and gain maps to a photograph (MPO); the first image is the photograph.
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if count > 1:
        raise UserError(f"{path}: contains {count} images (pages or frames), expected 1; save each as a file")
    if image.format == "TIFF" and (orientation := _orientation(image)) != _UPRIGHT:
        raise UserError(f"{path}: TIFF with EXIF orientation {orientation}, expected 1; save it upright")


def refuse_lossy_label(path: Path, image: ImageFile) -> None:
    """Check by content, not by name, that the compression of a label keeps its ids.

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
        raise UserError(f"{path}: label is {lossy}, which changes ids; export it again from its source as PNG")
    if image.mode == "L" and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO:
        raise UserError(f"{path}: label is a TIFF in which 0 is white, so that ids may be inverted; save it as PNG")


def bits_per_sample(image: ImageFile) -> int:
    """Bits per sample in the file, which Pillow's mode does not show; 8 for formats with a fixed depth."""
    if image.format == "PNG":
        return _start(image)[24]
    if image.format == "TIFF":
        bits = _tag(image, _BITS)
        return max(bits) if isinstance(bits, tuple) else int(bits or 1)
    return 8


def orientation_of(path: Path, source: BinaryIO) -> int:
    """Orientation of an image from its EXIF or XMP data, 1 to 8; 1 is upright.

    Only the start and the last 64 KiB of the file are read.

    Raises:
        UserError: not an image.
    """
    image = open_image(path, source)
    behind = _exif_behind_pixels(source) if image.format == "PNG" else b""
    return _orientation(image, behind)


def rotated_images(paths: Iterable[Path]) -> list[tuple[Path, int]]:
    """Images that viewers rotate or mirror, with their orientation (2 to 8). Unreadable files are skipped."""
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
    except (OSError, UserError):  # reading the file reports it
        return _UPRIGHT


def _exif_behind_pixels(source: BinaryIO) -> bytes:
    """Content of the chunk `eXIf` near the end of a PNG; empty if it has none."""
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


def _tag(image: ImageFile, tag: int) -> Any:
    return getattr(image, "tag_v2", {}).get(tag)
