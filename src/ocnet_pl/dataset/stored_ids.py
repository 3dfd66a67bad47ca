"""Class ids of labels whose displayed grey values differ from the stored numbers.

A palette of greys in another order (written by PNG optimisers) stores indices and displays the ids. A grey image of 2
or 4 bits stores the ids, and decoders stretch them to 255.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from ocnet_pl.dataset.labels import UNKNOWN, Bytes
from ocnet_pl.errors import UserError


def stored_ids(path: Path, image: Image.Image, bits: int, table: Bytes) -> Bytes:
    """Ids (H, W) of a single-channel label.

    Args:
        path: path for error messages.
        image: image of mode L or P.
        bits: bits per sample in the file.
        table: stored id -> train id, (256,). It decides between two possible readings.

    Raises:
        UserError: both readings give ids of the table, and different classes.
    """
    pixels = np.asarray(image)
    if image.mode == "P":
        return _palette_ids(path, pixels, image.getpalette() or [], table)
    return _few_bits_ids(path, pixels, bits, table) if bits < 8 else pixels


def _palette_ids(path: Path, indices: Bytes, palette: list[int], table: Bytes) -> Bytes:
    colours = np.array(palette, np.uint8).reshape(-1, 3)
    grey = (colours == colours[:, :1]).all(1)
    used = np.unique(indices)
    if used[-1] >= len(colours) or not grey[used].all():
        return indices
    shown = colours[:, 0]
    both = _known(used, table) and _known(shown[used], table) and not _same(used, shown[used], table)
    if grey.all():
        # The shown grey is the id, but black and white may also be the display of 0 and 1.
        ambiguous = both and set(shown[used]) <= {0, 255}
    else:
        # A palette of colours, of which this label uses only greys; or a palette that an optimiser began with greys.
        ambiguous = both and bool((used == np.arange(len(used))).all()) and len(set(shown[used])) == len(used)
        if not ambiguous:
            return indices
    if ambiguous:
        raise _ambiguous(path, used, shown[used], "a palette of grey")
    lookup = np.zeros(256, np.uint8)
    lookup[: len(shown)] = shown
    return np.asarray(lookup[indices])


def _few_bits_ids(path: Path, stretched: Bytes, bits: int, table: Bytes) -> Bytes:
    factor = 255 // (2**bits - 1)
    stored = np.asarray(stretched // factor, np.uint8)
    used = np.unique(stored)
    shown = np.asarray(used * factor, np.uint8)
    if not _known(shown, table) or _same(used, shown, table) or _fits(shown, bits // 2):
        return stored
    if _known(used, table):
        raise _ambiguous(path, used, shown, f"{bits} bits per pixel")
    return stretched


def _fits(shown: Bytes, bits: int) -> bool:
    """Test for greys that an optimiser would have written in fewer bits: no optimiser wrote this file."""
    return not (shown % (255 // (2**bits - 1))).any()


def _known(ids: Bytes, table: Bytes) -> bool:
    return bool((table[ids] != UNKNOWN).all())


def _same(ids: Bytes, others: Bytes, table: Bytes) -> bool:
    return bool((table[ids] == table[others]).all()) and _known(ids, table)


def _ambiguous(path: Path, stored: Bytes, shown: Bytes, how: str) -> UserError:
    return UserError(
        f"{path}: label with {how}, whose ids may be the stored {stored.tolist()} or the displayed {shown.tolist()}; "
        "save it as 8-bit grey"
    )
