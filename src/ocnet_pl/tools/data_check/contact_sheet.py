"""Many small pictures on one page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocnet_pl.drawing.overlay import Picture, overlay

_TILE_HEIGHT = 240
_PAGE_WIDTH = 1900
_GAP = 8
_LINE = 20
_FONT_SIZE = 13


@dataclass(frozen=True)
class Tile:
    """A photograph and the colours of its label, both RGB (H, W, 3), with a line of text."""

    photograph: Picture
    colours: Picture
    caption: str


def contact_sheet(title: str, tiles: Sequence[Tile], legend: Sequence[tuple[str, tuple[int, int, int]]]) -> Image.Image:
    """Every photograph with itself under its label's colours beside it, and below them all what the colours mean."""
    font = ImageFont.load_default(_FONT_SIZE)
    pictures = [_pair(tile) for tile in tiles]
    width, height = (max(sides) for sides in zip(*(picture.size for picture in pictures), strict=True))
    columns = max(1, min(len(tiles), (_PAGE_WIDTH - _GAP) // (width + _GAP)))
    rows = -(-len(tiles) // columns)
    page_width = max(columns * (width + _GAP) + _GAP, 640)
    entries = [(name, colour, 2 * _LINE + int(font.getlength(name))) for name, colour in legend]
    lines = _wrapped([entry[2] for entry in entries], page_width - 2 * _GAP)
    top_of_legend = _LINE + _GAP + rows * (height + _LINE + _GAP)
    page = Image.new("RGB", (page_width, top_of_legend + (lines[-1] + 1 if lines else 0) * _LINE + _GAP), "white")
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, _GAP // 2), title, "black", font)
    for number, (picture, tile) in enumerate(zip(pictures, tiles, strict=True)):
        row, column = divmod(number, columns)
        place = _GAP + column * (width + _GAP), _LINE + _GAP + row * (height + _LINE + _GAP)
        page.paste(picture, place)
        draw.text((place[0], place[1] + picture.height + 2), _fitting(tile.caption, font, width), "black", font)
    x, line = _GAP, 0
    for (name, colour, length), on_line in zip(entries, lines, strict=True):
        x, line = (x, line) if on_line == line else (_GAP, on_line)
        y = top_of_legend + line * _LINE
        draw.rectangle((x, y + 2, x + _LINE - 6, y + _LINE - 4), colour, "black")
        draw.text((x + _LINE, y + 1), name, "black", font)
        x += length
    return page


def _pair(tile: Tile) -> Image.Image:
    both = np.concatenate([tile.photograph, overlay(tile.photograph, tile.colours)], 1)
    height, width = both.shape[:2]
    size = round(width * _TILE_HEIGHT / height), _TILE_HEIGHT
    return Image.fromarray(both).resize(
        size, Image.Resampling.BOX if height > _TILE_HEIGHT else Image.Resampling.NEAREST
    )


def _wrapped(lengths: Sequence[int], width: int) -> list[int]:
    """Line of every word, for words of such lengths."""
    lines, used, line = [], 0, 0
    for length in lengths:
        if used and used + length > width:
            used, line = 0, line + 1
        used += length
        lines.append(line)
    return lines


def _fitting(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> str:
    text = text.encode(errors="replace").decode()  # names of files need not be UTF-8
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
