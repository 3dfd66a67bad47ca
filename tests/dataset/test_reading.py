"""Both decoders give Pillow's pixels, and truncated files are refused."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ocnet_pl.dataset.reading import Bytes, decode_image, decode_label, read_image
from ocnet_pl.errors import UserError

TABLE = np.arange(256, dtype=np.uint8)
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def encoded(pixels: Bytes, mode: str | None = None, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def with_chunk(png: bytes, name: bytes, content: bytes) -> bytes:
    """Another chunk behind the header."""
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return png[:33] + chunk + png[33:]


TURNED = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
"""EXIF that says: to be looked at turned by 90 degrees."""

FILES = {
    "colour": encoded(PIXELS),
    "colour by OpenCV": cv2.imencode(".png", PIXELS)[1].tobytes(),
    "grey": encoded(PIXELS[..., 0]),
    "palette": encoded(PIXELS, "P"),
    "alpha": encoded(PIXELS, "RGBA"),
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
def test_what_is_cut_short_is_refused(name: str, length: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="truncated"):
        decode_image(Path("x"), FILES[name][:length])
    # Labels in colour and JPEGs are already refused by their header.
    with pytest.raises(UserError, match="truncated" if name == "grey" or length == 40 else "RGB|JPEG"):
        decode_label(Path("x"), FILES[name][:length], TABLE)
    assert capfd.readouterr().err == ""  # no decoder says anything of its own


def test_a_file_of_another_kind_of_number(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(path)
    with pytest.raises(UserError, match="I;16"):
        read_image(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_image(tmp_path)
