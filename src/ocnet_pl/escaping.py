"""Escaping of text from files and command lines: one function per output format.

The templates escape HTML, `report/latex.py` escapes LaTeX; both apply `printable` first.
"""

import re
import unicodedata

_MARKDOWN = re.compile(
    r"[\\`*~$|<]"  # code, emphasis, mathematics, cells, tags
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis, which does not start within a word
    r"|(?<=\])[(\[:]"  # links, pictures and their definitions
    r"|&(?=#?\w+;)"  # entities
)
_BLOCK = re.compile(r"\A(\s*\d*)([#+>=.)-])")
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001 (spreadsheets run formulas with full-width signs, too)


def printable(text: str) -> str:
    r"""Replace control characters and invisible ones by their escapes: `\x1b`, `\n`, `\udcff`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Zs" else char.encode("unicode_escape").decode()
        for char in text
    )


def markdown(text: str) -> str:
    """Escape text within a line of GitHub's Markdown."""
    return _MARKDOWN.sub(lambda found: {"<": "&lt;", "&": "&amp;"}.get(found[0], f"\\{found[0]}"), printable(text))


def markdown_paragraph(text: str) -> str:
    """Escape a line of its own, which must not begin like a heading or a list."""
    return _BLOCK.sub(r"\1\\\2", markdown(text), count=1)


def spreadsheet(text: str) -> str:
    """Prefix text with an apostrophe if a spreadsheet would run it as a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def figure_text(text: str) -> str:
    """Escape text that matplotlib would typeset as mathematics or leave out of a legend."""
    escaped = printable(text).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
