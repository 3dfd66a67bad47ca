"""The pictures of a table's page, and the names of their colours."""

from pathlib import Path

import numpy as np
from PIL import Image
from results import result

from ocnet_pl.drawing.overlay import colour_table, paletted
from ocnet_pl.record.context import OnOwnClass
from ocnet_pl.report.files import html
from ocnet_pl.report.samples import colours, pictures
from ocnet_pl.statistics import MeanSD
from ocnet_pl.table import Table, read_tables

PALETTE = np.array([[128, 64, 128], [0, 0, 142]], np.uint8)


def table_with(folder: Path, truth: Image.Image) -> Table:
    """Its classes are road and car."""
    run = folder / "gp" / "seed-0"
    result("gp", 0, 70, "mine", samples=["one"]).write(run / "result.json")
    (run / "samples").mkdir()
    Image.new("RGB", (4, 2)).save(run / "samples" / "one-input.png")
    for kind in ("truth", "prediction"):
        truth.save(run / "samples" / f"one-{kind}.png")
    (table,) = read_tables(folder)
    return table


def test_colours_have_names(tmp_path: Path) -> None:
    ids = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
    table = table_with(tmp_path, paletted(ids, colour_table(PALETTE)))
    assert [caption for caption, _ in pictures(table)] == ["Input", "Truth", "GP"]
    assert colours(table) == [("road", "#804080"), ("car", "#00008e"), ("not labelled", "#000000")]
    assert '<i style="background: #00008e"></i>car</span>' in html(table)


def test_pictures_without_train_ids_have_no_legend(tmp_path: Path) -> None:
    table = table_with(tmp_path, Image.new("RGB", (4, 2)))
    assert colours(table) == []
    assert len(pictures(table)) == 3


def test_the_page_says_in_brackets_what_its_legend_calls_so(tmp_path: Path) -> None:
    table = table_with(tmp_path, Image.new("RGB", (4, 2)))
    table.rows[0].context = OnOwnClass(MeanSD(0.5434, 0.012, 2), MeanSD(0.2028, 0.0, 2))
    page = html(table)
    assert "(in brackets: uniform attention)" in page
    assert "<td>54.34 ± 1.20<small>uniform 20.28</small></td>" in page
