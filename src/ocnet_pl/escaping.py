"""Text from files and command lines, made safe for the place where it is shown: one function per output format.

HTML is escaped by the templates, LaTeX in `rendering/latex.py`; both begin with `printable`.
"""

import re
import unicodedata

_MARKDOWN = re.compile(
    r"[\\`*~$|<]"  # code, emphasis, mathematics, cells, tags
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis; within a word it is none
    r"|(?<=\])[(\[:]"  # links, pictures and their definitions
    r"|&(?=#?\w+;)"  # entities
)
_BLOCK = re.compile(r"\A(\s*\d*)([#+>=.)-])")
_FORMULA = tuple("=+-@＝＋－＠")  # noqa: RUF001 (spreadsheets run formulas with full-width signs, too)


def printable(text: str) -> str:
    r"""Replace characters that control a terminal or have no form by their escapes: `\x1b`, `\n`, `\udcff`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or unicodedata.category(char) == "Zs" else char.encode("unicode_escape").decode()
        for char in text
    )


def markdown(text: str) -> str:
    """Escape what GitHub's Markdown would not show as it reads, within a line."""
    return _MARKDOWN.sub(lambda found: {"<": "&lt;", "&": "&amp;"}.get(found[0], f"\\{found[0]}"), printable(text))


def markdown_paragraph(text: str) -> str:
    """Escape a line of its own, which may begin as a heading or a list would."""
    return _BLOCK.sub(r"\1\\\2", markdown(text), count=1)


def spreadsheet(text: str) -> str:
    """Mark a cell of text with an apostrophe where a spreadsheet would run it as a formula."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def figure_text(text: str) -> str:
    """Escape what matplotlib would take for mathematics, or leave out of a legend."""
    escaped = printable(text).replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
