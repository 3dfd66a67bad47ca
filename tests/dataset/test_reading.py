"""Both decoders give Pillow's pixels, and truncated files are refused."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ocnet_pl.dataset.headers import refuse_wrong_rows
from ocnet_pl.dataset.reading import Bytes, decode_image, decode_label, read_image
from ocnet_pl.errors import UserError

TABLE = np.arange(256, dtype=np.uint8)
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def encoded(pixels: Bytes, mode: str | None = None, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def interlaced(pixels: Bytes) -> bytes:
    """A PNG in colour in seven passes, which no library at hand writes."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = [
        b"\0" + row.tobytes()
        for left, top, across, down in passes
        for row in pixels[top::down, left::across]
        if row.size
    ]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b""))
    )


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """Another chunk behind the header."""
    return png[:33] + chunk(name, content) + png[33:]


TURNED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""EXIF that says: to be looked at turned by 90 degrees."""

FILES = {
    "colour": encoded(PIXELS),
    "colour by OpenCV": cv2.imencode(".png", PIXELS)[1].tobytes(),
    "grey": encoded(PIXELS[..., 0]),
    "palette": encoded(PIXELS, "P"),
    "alpha": encoded(PIXELS, "RGBA"),
    "palette of 4 bits": encoded(PIXELS[..., 0] % 16, "P", bits=4),
    "interlaced": interlaced(PIXELS),
    "interlaced, narrow": interlaced(PIXELS[:3, :3]),
    "grey with alpha": encoded(PIXELS, "LA"),
    "transparent colour": encoded(PIXELS, transparency=(1, 2, 3)),
    "gamma": with_chunk(encoded(PIXELS), b"gAMA", struct.pack(">I", 100000)),
    "orientation": with_chunk(encoded(PIXELS), b"eXIf", TURNED),
    "JPEG": encoded(PIXELS, kind="JPEG"),
    "grey JPEG": encoded(PIXELS, "L", "JPEG"),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_are_pillows(name: str) -> None:
    with Image.open(io.BytesIO(FILES[name])) as image:
        assert np.array_equal(decode_image(Path(name), FILES[name]), np.asarray(image.convert("RGB")))
        if image.mode in ("L", "P") and image.format == "PNG":
            assert np.array_equal(decode_label(Path(name), FILES[name], TABLE), np.asarray(image))


@pytest.mark.parametrize("name", ["colour", "grey", "JPEG"])
@pytest.mark.parametrize("length", [40, 300, -30])
def test_truncated_files_are_refused(name: str, length: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="truncated"):
        decode_image(Path("x"), FILES[name][:length])
    # Labels in colour and JPEGs are already refused by their header.
    with pytest.raises(UserError, match="truncated" if name == "grey" or length == 40 else "RGB|JPEG"):
        decode_label(Path("x"), FILES[name][:length], TABLE)
    assert capfd.readouterr().err == ""  # no decoder says anything of its own


def rows_of(png: bytes) -> bytes:
    """Rows of a PNG with one chunk of them, each behind its filter."""
    start = png.index(b"IDAT")
    return zlib.decompress(png[start + 4 : start + 4 + int.from_bytes(png[start - 4 : start])])


def with_rows(png: bytes, rows: bytes) -> bytes:
    """The PNG with other compressed rows, and right checksums of all chunks."""
    start = png.index(b"IDAT")
    end = start + 4 + int.from_bytes(png[start - 4 : start])
    return with_chunk(png[: start - 4] + png[end + 4 :], b"IDAT", rows)


CHANGES = {
    "rows are missing": lambda rows: zlib.compress(rows[: len(rows) // 2]),
    "the last byte is missing": lambda rows: zlib.compress(rows[:-1]),
    "cut off": lambda rows: zlib.compress(rows)[:-40],
    "unknown filter": lambda rows: zlib.compress(b"\x09" + rows[1:]),
    "no rows": lambda rows: zlib.compress(b""),
    "not compressed": lambda rows: rows,
}
"""What happens to the rows of a file whose chunks are all sound."""


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("name", ["colour", "grey", "palette", "palette of 4 bits", "alpha", "interlaced"])
def test_a_png_without_all_its_rows_is_refused(
    name: str, change: Callable[[bytes], bytes], capfd: pytest.CaptureFixture[str]
) -> None:
    file = with_rows(FILES[name], change(rows_of(FILES[name])))
    with pytest.raises(UserError, match=r"x\.png: cannot be decoded, truncated"):
        decode_image(Path("x.png"), file)
    if name in ("grey", "palette", "palette of 4 bits"):
        with pytest.raises(UserError, match=r"x\.png: cannot be decoded, truncated"):
            decode_label(Path("x.png"), file, TABLE)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["colour", "grey", "palette", "palette of 4 bits", "alpha", "interlaced"])
def test_the_checksum_of_the_rows_is_verified_by_the_check(name: str) -> None:
    rows = zlib.compress(rows_of(FILES[name]))
    refuse_wrong_rows(Path("x.png"), with_rows(FILES[name], rows))
    with pytest.raises(UserError, match=r"x\.png: cannot be decoded"):
        refuse_wrong_rows(Path("x.png"), with_rows(FILES[name], rows[:-4] + bytes(4)))
    with pytest.raises(UserError, match=r"x\.png: cannot be decoded"):
        refuse_wrong_rows(Path("x.png"), with_rows(FILES[name], rows[:-4]))


def test_other_formats_have_no_checksum_of_rows() -> None:
    refuse_wrong_rows(Path("x.jpg"), FILES["JPEG"])


def test_16_bit_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(UserError, match="I;16"):
        read_image(path)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Is a directory"):
        read_image(tmp_path)
