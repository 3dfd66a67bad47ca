"""Charts as SVG: files of their own, or parts of a page whose style sheet colours them."""

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from ocnet_pl.escaping import printable

INK, QUIET, GRID, PAGE = "#222222", "#666666", "#e5e5e5", "#ffffff"
GAIN, LOSS = "#0072b2", "#d55e00"
"""Blue and vermilion of Okabe and Ito, which colour-blind readers can tell apart."""

SERIES = tuple(mpl.colors.to_hex(colour) for colour in mpl.color_sequences["petroff10"][:8])
"""Colours of rows (Petroff 2021, arXiv 2107.02270), chosen for colour-blind readers; every row has a marker, too."""

MARKERS = "osD^vPX*"

STYLE: Any = {  # matplotlib names every setting in the type
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
}
"""Settings of matplotlib under which charts are drawn."""

WIDE, NARROW = 9.0, 3.7
"""Widths of a chart in inches, on screens of usual width and on those of telephones."""

_VARIABLES = {INK: "text", QUIET: "quiet", GRID: "grid", PAGE: "page", GAIN: "gain", LOSS: "loss"} | {
    colour: f"series-{place}" for place, colour in enumerate(SERIES)
}
_STYLE_ATTRIBUTE = re.compile(r'(?<=style=")[^"<]*')  # within one tag, whatever a name in the chart may be
_FONTS = re.compile("font-family: [^;]*;? ?")
_COLOUR = re.compile("#[0-9a-f]{6}")


def series(place: int) -> tuple[str, str]:
    """Colour and marker of a row; 64 rows have different pairs."""
    return SERIES[place % len(SERIES)], MARKERS[(place + place // len(SERIES)) % len(MARKERS)]


def svg(figure: Figure, salt: str = "ocnet_pl", *, transparent: bool = False) -> str:
    """Format a chart; equal charts give equal text. Charts on one page need different salts."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser has other fonts
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=transparent)
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def inline(figure: Figure, name: str, label: str) -> Markup:
    """Format a chart for a page whose style sheet defines its colours (`--text`, `--series-0`, ...) and its font.

    Args:
        figure: the chart, drawn with the colours of this module.
        name: name of the chart on its page.
        label: what the chart shows, for readers who cannot see it.
    """
    text = svg(figure, f"ocnet_pl {name}", transparent=True)
    text = re.sub("<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub('<g id="[^"]*"', "<g", text)  # nothing refers to them, and they repeat from chart to chart
    text = _STYLE_ATTRIBUTE.sub(lambda found: _COLOUR.sub(_themed, _FONTS.sub("", found[0])), text)
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{escape(printable(label))}" ', 1))


def responsive(draw: Callable[[float], Figure], name: str, label: str) -> Markup:
    """Format a chart in two widths, of which a page shows the one that fits; `draw` gets the width in inches."""
    wide, narrow = (inline(draw(width), f"{name} {width}", label) for width in (WIDE, NARROW))
    return Markup('<div class="wide-only">{}</div><div class="narrow-only">{}</div>').format(wide, narrow)


def _themed(colour: re.Match[str]) -> str:
    return f"var(--{_VARIABLES[colour[0]]})" if colour[0] in _VARIABLES else colour[0]
