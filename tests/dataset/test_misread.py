"""Files that decoders read without a word, and wrongly: each is refused by name, or read as what it says.

`ocnet-data check` and a training share the reader, and are asked the same questions here.
"""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import SHORT, Main
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from trees import folder_tree

from ocnet_pl.dataset.folder import Folder
from ocnet_pl.dataset.headers import MAX_PIXELS, orientation_of
from ocnet_pl.dataset.labels import decoding_table
from ocnet_pl.dataset.reading import Bytes, decode_image, decode_label, read_image, read_label, read_size
from ocnet_pl.errors import UserError
from ocnet_pl.tools.data_check.check import check

SIZES = {"train": [(32, 32)] * 4, "val": [(32, 32)]}
LABEL = cv2.resize(
    np.random.default_rng(0).integers(0, 3, (4, 4), dtype=np.uint8), (32, 32), interpolation=cv2.INTER_NEAREST
)
PHOTO = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
ABC = decoding_table({0: 0, 1: 1, 2: 2})


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(samples: np.ndarray, bits: int, colour: int, palette: list[int] | None = None, size: Any = None) -> bytes:
    """A PNG of any depth: samples (H, W) or (H, W, C), grey levels of the palette."""
    rows = b"".join(b"\0" + packed(row.ravel(), bits) for row in samples)
    height, width = size or samples.shape[:2]
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if palette is not None:
        parts.append(chunk(b"PLTE", bytes(palette)))
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def packed(values: np.ndarray, bits: int) -> bytes:
    if bits == 16:
        return values.astype(">u2").tobytes()
    digits = "".join(format(int(value), f"0{bits}b") for value in values)
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[start : start + 8], 2) for start in range(0, len(digits), 8))


def tiff(samples: np.ndarray, bits: int, photometric: int = 1) -> bytes:
    """A grey TIFF of any depth, uncompressed."""
    rows = b"".join(packed(row, bits) for row in samples)
    height, width = samples.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: height, 279: len(rows)}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + rows


def grey(*levels: int) -> list[int]:
    return [level for level in levels for _ in range(3)]


def saved(pixels: np.ndarray, kind: str, mode: str | None = None, **options: Any) -> bytes:
    kept = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(kept, kind, **options)
    return kept.getvalue()


def several(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    return saved(
        pixels, kind, save_all=True, append_images=[Image.fromarray(np.ascontiguousarray(pixels[::-1]))], **options
    )


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


DEEP = PHOTO.astype(np.uint16) << 4  # of a 12-bit sensor

IMAGES: dict[str, tuple[Callable[[], bytes], str]] = {
    "12 bits in a 16-bit PNG": (lambda: png(DEEP, 16, 2), "16 bits"),
    "16-bit PNG by OpenCV": (lambda: cv2.imencode(".png", DEEP)[1].tobytes(), "16 bits"),
    "16-bit PNG with alpha": (lambda: png(np.dstack([DEEP, DEEP[..., 0]]), 16, 6), "16 bits"),
    "16-bit grey PNG with alpha": (lambda: png(DEEP[..., :2], 16, 4), "16 bits"),
    "16-bit grey PNG": (lambda: png(DEEP[..., 0], 16, 0), "16 bits"),
    "16-bit TIFF": (lambda: cv2.imencode(".tif", DEEP)[1].tobytes(), "16 bits"),
    "TIFF of two pages": (lambda: several(PHOTO, "TIFF"), "contains 2 images"),
    "moving GIF": (lambda: several(PHOTO, "GIF"), "contains 2 images"),
    "moving PNG": (lambda: several(PHOTO, "PNG"), "contains 2 images"),
    "moving WebP": (lambda: several(PHOTO, "WEBP", lossless=True), "contains 2 images"),
    "turned TIFF": (lambda: saved(PHOTO, "TIFF", exif=turned(6)), "EXIF orientation 6"),
    "mirrored TIFF": (lambda: saved(PHOTO, "TIFF", exif=turned(2)), "EXIF orientation 2"),
    "PNG of 400 million pixels": (lambda: png(PHOTO, 8, 2, size=(20000, 20000)), "too many"),
    "BMP of 400 million pixels": (
        lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 20000, 20000, 1, 24, 0, 0, 0, 0, 0, 0),
        "too many",
    ),
}

LABELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "JPEG": (lambda: saved(LABEL, "JPEG"), "JPEG, which changes ids"),
    "JPEG in colour": (lambda: saved(PHOTO, "JPEG"), "JPEG, which changes ids"),
    "WebP with loss": (lambda: saved(LABEL, "WEBP"), "lossy WebP"),
    "WebP without loss": (lambda: saved(LABEL, "WEBP", lossless=True), "mode RGB"),
    "JPEG in a TIFF": (lambda: saved(LABEL, "TIFF", compression="jpeg"), "jpeg compression"),
    "16-bit TIFF": (lambda: saved(LABEL.astype(np.uint16), "TIFF"), "16 bits"),
    "white-is-zero TIFF": (lambda: tiff(LABEL, 8, 0), "0 is white"),
    "white-is-zero TIFF of 4 bits": (lambda: tiff(LABEL, 4, 0), "0 is white"),
    "TIFF of two pages": (lambda: several(LABEL, "TIFF"), "contains 2 images"),
    "moving GIF": (lambda: several(LABEL, "GIF"), "contains 2 images"),
    "moving PNG": (lambda: several(LABEL, "PNG"), "contains 2 images"),
    "turned TIFF": (lambda: saved(LABEL, "TIFF", exif=turned(3)), "EXIF orientation 3"),
    "one bit": (lambda: png(LABEL > 0, 1, 0), "mode 1"),
    "black and white palette": (lambda: png(LABEL > 0, 8, 3, grey(0, 255)), "stored [0, 1] or the displayed [0, 255]"),
    "white and black palette": (lambda: png(LABEL > 0, 1, 3, grey(255, 0)), "stored [0, 1] or the displayed [255, 0]"),
    "white palette": (lambda: png(LABEL * 0 + 1, 8, 3, grey(0, 255)), "stored [1] or the displayed [255]"),
    "greys of a palette in colour": (
        lambda: png(LABEL, 8, 3, [*grey(2, 1, 0), 9, 8, 7]), "stored [0, 1, 2] or the displayed [2, 1, 0]",
    ),
    "PNG of 400 million pixels": (lambda: png(LABEL, 8, 0, size=(20000, 20000)), "too many"),
}  # fmt: skip

WRONG = pytest.mark.parametrize(
    ("what", "name"), [("image", name) for name in IMAGES] + [("label", name) for name in LABELS]
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return folder_tree(tmp_path / "tree", **SIZES)


def place(root: Path, what: str, name: str) -> tuple[Path, str]:
    """Puts wrong content under a name that looks right."""
    make, words = IMAGES[name] if what == "image" else LABELS[name]
    path = root / ("images/train/002.jpg" if what == "image" else "masks/train/002.png")
    path.write_bytes(make())
    return path, words


def data(root: Path, **settings: Any) -> Folder:
    return Folder(str(root), **({"classes": ("a", "b", "c"), "crop_size": (16, 16), "batch_size": 4} | settings))


@WRONG
def test_the_check_names_it(root: Path, what: str, name: str) -> None:
    path, words = place(root, what, name)
    report = check(data(root), 1, lambda more, total: None)
    (error,) = [finding for finding in report.findings if finding.severity == "error"]
    assert (error.kind, error.file) == (f"{what} cannot be read", str(path))
    assert words in error.message
    assert "\n" not in error.message


@WRONG
def test_a_sample_names_it(root: Path, what: str, name: str, tmp_path: Path) -> None:
    path, words = place(root, what, name)
    for module in (data(root, num_workers=0), data(root, num_workers=0, cache=str(tmp_path / "cache"))):
        with pytest.raises(UserError) as caught:
            list(module.training_dataloader(stop=2))
        assert str(path) in str(caught.value)
        assert words in str(caught.value)


def test_a_training_ends_in_one_line(
    root: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    path, words = place(root, "label", "JPEG")
    tree = (f"dataset.root={root}", "dataset.classes=[a,b,c]", "dataset.crop_size=[16,16]", "dataset.num_workers=0")
    assert call("train", *SHORT, "dataset=folder", *tree) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert str(path) in error
    assert words in error


def ids(content: bytes, table: Bytes = ABC) -> Bytes:
    return decode_label(Path("label.png"), content, table)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2), (0, 2, 1), (0, 1, 2), (2, 1, 0, 0, 0)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_grey_palette_shows_the_ids(order: tuple[int, ...], bits: int) -> None:
    if len(order) > 2**bits:
        return
    stored = np.array([order.index(value) for value in range(3)], np.uint8)[LABEL]
    content = png(stored, bits, 3, grey(*order))
    assert np.array_equal(ids(content), LABEL)
    assert np.array_equal(ids(content), cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF"])
def test_a_grey_palette_in_other_formats(kind: str) -> None:
    image = Image.fromarray(np.array([2, 0, 1], np.uint8)[LABEL])
    image.putpalette(grey(1, 2, 0) + grey(0) * 253)
    kept = io.BytesIO()
    image.save(kept, kind)
    assert np.array_equal(ids(kept.getvalue()), LABEL)


def test_a_stray_id_behind_a_grey_palette_is_no_class() -> None:
    stray = np.array([0, 1, 200], np.uint8)[LABEL]
    assert set(np.unique(ids(png(LABEL, 8, 3, grey(0, 1, 200))))) == set(np.unique(stray))


COLOURS = [9, 8, 7, 6, 5, 4]


@pytest.mark.parametrize(
    ("used", "palette"),
    [
        ((0, 1, 2), [0, 0, 0, 128, 0, 0, 0, 128, 0]),
        ((0, 1), [*grey(0, 128), *COLOURS]),  # as VOC's, where cars are grey
        ((1, 2), [*COLOURS[:3], *grey(77, 9)]),
        ((255,), [*COLOURS, *grey(0) * 254]),  # what ends a palette is mostly black
        ((0, 255), [*grey(0), *COLOURS, *grey(0) * 253]),
    ],
)
def test_a_palette_in_colour_stores_the_ids(used: tuple[int, ...], palette: list[int]) -> None:
    label = np.array(used, np.uint8)[LABEL % len(used)]
    assert np.array_equal(ids(png(label, 8, 3, palette)), label)


def test_black_and_white_is_what_the_table_says() -> None:
    content = png(LABEL > 0, 8, 3, grey(0, 255))
    both = decoding_table({0: 0, 255: 1})
    assert set(np.unique(ids(content, both))) == {0, 255}
    assert np.array_equal(ids(content, both) == 255, LABEL > 0)


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("make", [lambda values, bits: png(values, bits, 0), tiff])
def test_few_bits_store_the_ids(bits: int, make: Callable[[np.ndarray, int], bytes]) -> None:
    assert np.array_equal(ids(make(LABEL, bits)), LABEL)


def test_sixteen_classes_in_four_bits() -> None:
    label = np.arange(16, dtype=np.uint8).reshape(4, 4)
    table = decoding_table({number: number for number in range(16)})
    for part in (label, label[:1], label[3:], label[::3, ::3]):
        assert np.array_equal(ids(png(part, 4, 0), table), part)


def test_few_bits_that_an_optimiser_wrote() -> None:
    """It may store 0 and 1 for 0 and 17, which every viewer shows."""
    shown = np.where(LABEL > 0, 17, 0).astype(np.uint8)
    content = png(shown // 17, 4, 0)
    assert np.array_equal(ids(content, decoding_table({0: 0, 17: 1})), shown)
    with pytest.raises(UserError, match=r"4 bits per pixel.*stored \[0, 1\] or the displayed \[0, 17\]"):
        ids(content, decoding_table({number: number for number in range(19)}))


def test_photographs_are_stretched_to_all_levels(tmp_path: Path) -> None:
    for bits in (1, 2, 4):
        path = tmp_path / "x.png"
        path.write_bytes(png(LABEL.astype(bool) * (2**bits - 1), bits, 3 if bits == 1 else 0, grey(0, 255)))
        assert set(np.unique(read_image(path))) == {0, 255}


def test_what_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "label.png"
    for content in (
        saved(LABEL, "PNG"),
        saved(LABEL, "BMP"),
        saved(LABEL, "TIFF", compression="tiff_lzw"),
        tiff(LABEL, 8),
    ):
        path.write_bytes(content)
        assert np.array_equal(read_label(path, ABC), LABEL)
    path.write_bytes(saved(PHOTO, "JPEG"))  # a photograph may be called as it likes
    assert read_image(path).shape == (32, 32, 3)


def test_a_phone_adds_previews_to_a_photograph(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(several(PHOTO, "MPO"))
    assert read_image(path).shape == (32, 32, 3)


def test_no_command_opens_a_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    side = int(MAX_PIXELS**0.5) + 1
    path.write_bytes(png(PHOTO, 8, 2, size=(side, side)))
    for read in (read_size, read_image):
        with pytest.raises(UserError, match=r"bomb.png: more than .* pixels"):
            read(path)


def behind(content: bytes, exif: Image.Exif) -> bytes:
    """EXIF data after the pixels of a PNG."""
    return content[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + content[-12:]


def xmp(orientation: int) -> PngInfo:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", f'<x:xmpmeta xmlns:tiff="t"><d tiff:Orientation="{orientation}"/></x:xmpmeta>')
    return info


TURNED: dict[str, Callable[[int], bytes]] = {
    "JPEG": lambda orientation: saved(PHOTO, "JPEG", exif=turned(orientation)),
    "PNG": lambda orientation: saved(PHOTO, "PNG", exif=turned(orientation)),
    "PNG, behind the pixels": lambda orientation: behind(saved(PHOTO, "PNG"), turned(orientation)),
    "PNG, XMP": lambda orientation: saved(PHOTO, "PNG", pnginfo=xmp(orientation)),
    "WebP": lambda orientation: saved(PHOTO, "WEBP", exif=turned(orientation)),
}


@pytest.mark.parametrize("kind", TURNED)
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 6, 8])
def test_orientations_are_seen(
    root: Path, kind: str, orientation: int, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]
) -> None:
    content = TURNED[kind](orientation)
    assert orientation_of(Path("x"), io.BytesIO(content)) == orientation
    for number in (0, 2):
        (root / f"images/train/00{number}.jpg").write_bytes(
            content[:-12] + chunk(b"tEXt", b"n\0%d" % number) + content[-12:]
            if kind.startswith("PNG")
            else content + b"\0" * number
        )
    report = check(data(root), 1, lambda more, total: None)
    found = [finding for finding in report.findings if "EXIF orientation" in finding.kind]
    assert report.sound
    assert len(found) == (0 if orientation == 1 else 2)
    assert all(f"orientation {orientation}" in finding.message for finding in found)


def test_a_training_warns_once(root: Path, workplace: Path, call: Main, capsys: pytest.CaptureFixture[str]) -> None:
    for number, orientation in enumerate((6, 3, 1)):
        (root / f"images/train/00{number}.jpg").write_bytes(TURNED["JPEG"](orientation) + b"\0" * number)
    tree = (f"dataset.root={root}", "dataset.classes=[a,b,c]", "dataset.crop_size=[16,16]", "dataset.num_workers=0")
    assert call("train", *SHORT, "dataset=folder", *tree) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "EXIF" in line]
    assert "000.jpg: EXIF orientation 6 is ignored" in line
    assert "2 images have one" in line


def test_two_sizes_are_explained(root: Path) -> None:
    photo = root / "images/train/002.jpg"
    photo.write_bytes(saved(PHOTO[:24], "JPEG", exif=turned(6)))
    Image.fromarray(np.rot90(LABEL[:24], -1).copy()).save(root / "masks/train/002.png")
    with pytest.raises(UserError, match=r"24x32 but its image 002.jpg is 32x24 \(its EXIF orientation 6 is ignored\)"):
        list(data(root, num_workers=0).training_dataloader(stop=2))
    findings = check(data(root), 1, lambda more, total: None).findings
    (error,) = [finding for finding in findings if finding.severity == "error"]
    assert error.kind == "image and label of two sizes"
    assert "EXIF orientation 6" in error.message


PNGS = {
    "grey": (png(LABEL, 8, 0), False),
    "palette": (png(LABEL, 8, 3, grey(2, 1, 0)), False),
    "4 bits": (png(LABEL, 4, 0), False),
    "colour": (png(PHOTO, 8, 2), True),
}


def read(content: bytes, photo: bool) -> Bytes:
    path = Path("x.png")
    return decode_image(path, content) if photo else decode_label(path, content, ABC)


@pytest.mark.parametrize("name", PNGS)
def test_a_damaged_png_never_gives_other_pixels(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    content, photo = PNGS[name]
    rng, whole = np.random.default_rng(0), read(content, photo)
    for number in range(100):
        damaged = bytearray(content)
        place = int(rng.integers(len(content)))
        if number % 2:
            damaged[place] ^= int(rng.integers(1, 256))
        else:
            del damaged[place : place + int(rng.integers(1, 30))]
        with pytest.raises(UserError, match=r"^x.png: cannot be decoded"):
            read(bytes(damaged), photo)
    assert np.array_equal(read(content + b"what some tools append", photo), whole)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", PNGS)
def test_a_png_of_odd_content_is_read_or_refused(name: str) -> None:
    """Chunks with other content and right checksums."""
    content, photo = PNGS[name]
    rng = np.random.default_rng(0)
    for _ in range(100):
        chunks, position = [], 8
        while position < len(content):
            length = int.from_bytes(content[position : position + 4])
            body = bytearray(content[position + 8 : position + 8 + length])
            if body and rng.random() < 0.5:
                body[int(rng.integers(len(body)))] = int(rng.integers(256))
            chunks.append(chunk(content[position + 4 : position + 8], bytes(body)))
            position += 12 + length
        with suppress(UserError):
            assert read(content[:8] + b"".join(chunks), photo).dtype == np.uint8
