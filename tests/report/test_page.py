"""The HTML page of a table: its verdict, numbers and pictures, for readers of every kind and without a network."""

import base64
import hashlib
import io
import itertools
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image
from results import counted, counts_with, result

from ocnet_pl.drawing.error_map import FIRST, SECOND
from ocnet_pl.drawing.overlay import colour_table, paletted
from ocnet_pl.record.result import Result
from ocnet_pl.report import charts, curves
from ocnet_pl.report.confusion import MOST_CLASSES, confusions
from ocnet_pl.report.files import html
from ocnet_pl.report.gains import MOST, gains
from ocnet_pl.report.svg import GAIN, QUIET, SERIES, series, svg
from ocnet_pl.report.verdicts import verdict
from ocnet_pl.table import Table, read_tables

SHARES = {"baseline": 0.70, "gp": 0.71, "ppm": 0.90}
PALETTE = colour_table(np.array([[128, 64, 128], [0, 0, 142]], np.uint8))
IMAGES = [f"image{place}.png" for place in range(20)]


def written(folder: Path, rows: Sequence[str] = tuple(SHARES), seeds: int = 3) -> Table:
    """A table of two classes with counts, confusion matrices, curves and the pictures of six images."""
    for row in rows:
        for seed in range(seeds):
            rng = np.random.default_rng([seed, len(row)])
            counts = counts_with(SHARES[row] + (0.0, 0.01, -0.02)[seed], rng)
            (hits, _, missed) = counts.sum(0)
            confusion = np.array([[hits[0], missed[0]], [missed[1], hits[1]]])
            names = [Path(name).stem for name in IMAGES[:6]]
            scores = [(4, 0.5), (9, SHARES[row])]
            losses = [(step, 3.0 / (step + 1)) for step in range(10)]
            counted(
                folder, row, seed, counts, images=IMAGES, confusion=confusion, samples=names,
                curves={"train/loss": losses, "val/miou": scores},
            )  # fmt: skip
            for name in names:
                draw(folder / row / f"seed-{seed}" / "samples", name, right=row == "ppm")
    (table,) = read_tables(folder)
    return table


def draw(folder: Path, name: str, *, right: bool) -> None:
    """An image, its truth and a prediction that is right in one half, or everywhere; the first column has no label."""
    folder.mkdir(exist_ok=True)
    truth = np.array([[255, 1, 0, 0], [255, 1, 0, 0]], np.uint8)
    prediction = np.where((truth == 1) & (not right), 0, truth).astype(np.uint8)
    Image.new("RGB", (4, 2), (9, 99, 199)).save(folder / f"{name}-input.png")
    for kind, ids in (("truth", truth), ("prediction", prediction)):
        paletted(ids, PALETTE).save(folder / f"{name}-{kind}.png")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return written(tmp_path_factory.mktemp("table1"))


@pytest.fixture(scope="module")
def page(table: Table) -> str:
    return html(table)


class Elements(HTMLParser):
    """Every element: its name, its attributes and the names of the elements around it."""

    EMPTY = ("meta", "link", "img", "input", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.text: dict[int, str] = {}
        self._open: list[int] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs), [self.all[place][0] for place in self._open]))
        if tag not in self.EMPTY:
            self._open.append(len(self.all) - 1)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs), [self.all[place][0] for place in self._open]))

    def handle_endtag(self, tag: str) -> None:
        assert self.all[self._open.pop()][0] == tag, "elements are nested"

    def handle_data(self, data: str) -> None:
        for place in self._open:
            self.text[place] = self.text.get(place, "") + data

    def named(self, tag: str) -> Iterator[tuple[dict[str, str | None], str]]:
        """Attributes and text of all elements of a name."""
        return ((attrs, self.text.get(place, "")) for place, (name, attrs, _) in enumerate(self.all) if name == tag)


@pytest.fixture(scope="module")
def elements(page: str) -> Elements:
    return Elements(page)


def content(elements: Elements, name: str) -> Any:
    (text,) = (text for attrs, text in elements.named("script") if attrs.get("id") == name)
    return json.loads(text)


def test_the_verdict_comes_first(table: Table, elements: Elements) -> None:
    ppm = table.rows[-1].cells[table.main_column].difference
    assert verdict(table) == (
        f"ResNet-101 + PPM ({ppm:+.2f}) is better than ResNet-101 Baseline; ResNet-101 + GP is not told apart from "
        "ResNet-101 Baseline (Val mIoU in points, 2 comparisons tested together)."
    )
    first = next(text for _, text in elements.named("p"))
    assert first == verdict(table)


def test_a_worse_row_is_called_worse(tmp_path: Path) -> None:
    written(tmp_path)
    from ocnet_pl.table import find_tables

    ((reversed_,), _) = find_tables(tmp_path, baseline="ppm")
    assert "GP (-" in verdict(reversed_)
    assert "are worse than ResNet-101 + PPM" in verdict(reversed_)


def test_one_seed_gives_no_verdict(tmp_path: Path) -> None:
    one = written(tmp_path, seeds=1)
    assert "No verdict on ResNet-101 + PPM and ResNet-101 + GP" in verdict(one)
    assert "unknown" in html(one)


def test_the_chart_of_differences_shows_intervals_and_zero(table: Table) -> None:
    (axes,) = charts.differences(table).axes
    assert [0, 0] in [list(line.get_xdata()) for line in axes.lines], "a line at zero"
    for place, name in enumerate(("gp", "ppm")):
        cell = next(row for row in table.rows if row.name == name).cells[table.main_column]
        assert cell.interval is not None
        drawn = {tuple(line.get_xdata()): line for line in axes.lines if set(line.get_ydata()) == {place}}
        assert (cell.interval.low, cell.interval.high) in drawn
        point = drawn[(cell.difference,)]
        decided = name == "ppm"
        assert (point.get_marker(), point.get_color()) == ((">", GAIN) if decided else ("o", QUIET))
    words = " ".join(text.get_text() for text in axes.texts)
    assert "not significant" in words


def test_every_reader_gets_the_page(page: str, elements: Elements) -> None:
    ids = [attrs["id"] for _, attrs, _ in elements.all if "id" in attrs]
    assert len(ids) == len(set(ids)), "an id is there once"
    assert all(attrs.get("scope") in ("col", "row") for attrs, _ in elements.named("th"))
    tables = [text for _, text in elements.named("table")]
    assert len(list(elements.named("caption"))) == len(tables)
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs, _ in elements.named("svg"))
    assert all(attrs.get("alt") for attrs, _ in elements.named("img"))
    regions = [attrs for attrs, _ in elements.named("div") if "wide" in (attrs.get("class") or "").split()]
    assert len(regions) == len(tables)
    assert all((one["tabindex"], one["role"]) == ("0", "region") and one["aria-label"] for one in regions)
    assert all("label" in around for name, _, around in elements.all if name == "select")
    assert '<html lang="en">' in page


def test_the_page_loads_nothing_and_runs_its_own_script_only(page: str, elements: Elements) -> None:
    scripts = [(attrs, text) for attrs, text in elements.named("script")]
    (run,) = (text for attrs, text in scripts if attrs.get("type") != "application/json")
    digest = base64.b64encode(hashlib.sha256(run.encode()).digest()).decode()
    (policy,) = (attrs["content"] for attrs, _ in elements.named("meta") if "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}'" in policy
    assert not [name for _, attrs, _ in elements.all for name in attrs if name.startswith("on")]
    sources = [
        attrs[name] or "" for _, attrs, _ in elements.all for name in ("src", "href", "xlink:href") if name in attrs
    ]
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert "url(h" not in page


def luminance(colour: Sequence[float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(one: Sequence[float], two: Sequence[float]) -> float:
    """Contrast of WCAG 2.2."""
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def rgb(text: str) -> NDArray[np.float64]:
    return np.array(list(bytes.fromhex(text.removeprefix("#"))), float)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast_is_enough(page: str, dark: bool) -> None:
    found = re.findall(r"--([a-z-]+): light-dark\((#\w{6}), (#\w{6})\)", page)
    colours = {name: rgb(pair[dark]) for name, *pair in found}
    for name in ("text", "quiet", "link", "missing", "remark"):
        for ground in ("page", "raised"):
            assert ratio(colours[name], colours[ground]) >= 4.5, (name, ground)
    assert ratio(colours["decided-text"], colours["decided"]) >= 4.5
    strongest = int(re.search(r"var\(--share\) \* (\d+)%", page)[1]) / 100  # type: ignore[index]
    for name in ("gain", "loss"):
        heat = strongest * colours[name] + (1 - strongest) * colours["page"]
        assert ratio(colours["text"], heat) >= 4.5, name
        assert ratio(colours[name], colours["page"]) >= 3, name
    shares = dict(re.findall(r"--series-\d+: color-mix\(in srgb, (#\w{6}) (\d+)%, var\(--text\)\)", page))
    assert tuple(shares) == SERIES
    for colour, share in shares.items():
        mixed = int(share) / 100 * rgb(colour) + (1 - int(share) / 100) * colours["text"]
        assert ratio(mixed, colours["page"]) >= 3, colour


def test_charts_have_the_colours_of_the_page(page: str) -> None:
    drawn = "".join(re.findall("<svg.*?</svg>", page, re.DOTALL))
    styles = " ".join(re.findall('style="([^"]*)"', drawn))
    assert {"var(--text)", "var(--gain)", "var(--series-0)", "var(--series-2)"} <= set(
        re.findall(r"var\([^)]*\)", styles)
    )
    assert not re.findall("#[0-9a-f]{6}", styles)
    assert not re.findall("font-family", styles)


def test_every_row_has_a_colour_and_a_marker_of_its_own() -> None:
    assert len({series(place) for place in range(64)}) == 64


def test_the_best_row_is_bold(table: Table, elements: Elements) -> None:
    assert [text for _, text in elements.named("strong")] == ["ResNet-101 + PPM", re.findall(
        r"<strong>(\d+\.\d+ ± \d+\.\d+)</strong>", html(table))[0]]  # fmt: skip


def test_classes_have_colours_by_difference(table: Table, page: str) -> None:
    assert table.analysis is not None
    differences = table.analysis.class_differences
    largest = max(abs(of.difference) for of_class in differences.values() for of in of_class.values())
    found = re.findall(r'<td class="(gain|loss)" style="--share: ([\d.]+)">(?:<b>)?(?:&#43;)?([-+]?[\d.]+)', page)
    by_number = {number.lstrip("+"): (kind, float(share)) for kind, share, number in found}
    for of in (of for of_class in differences.values() for of in of_class.values()):
        kind, share = by_number[f"{of.difference:.2f}"]
        assert kind == ("gain" if of.difference > 0 else "loss")
        assert share == pytest.approx(abs(of.difference) / largest, abs=1e-3)


def test_confusions_are_shares_of_the_true_class(table: Table, elements: Elements) -> None:
    found = confusions(table)
    assert found is not None
    np.testing.assert_allclose(found.shares.sum(2), 100)
    assert (found.rows[found.row], found.minus) == ("ResNet-101 + PPM", 0)
    np.testing.assert_allclose(found.shown(), found.shares[2] - found.shares[0])
    right = found.shown()[0, 0]
    assert right > 5, "PPM is right more often"
    (_, cells), _ = found.lines()
    assert cells[0] == (f"{right:+.1f}", "gain", pytest.approx(1, abs=0.2))
    assert cells[1][:2] == (f"{-right:+.1f}", "gain"), "fewer mistakes are better"
    np.testing.assert_allclose(content(elements, "confusion-values")["shares"], found.shares, atol=0.005)


def test_of_many_classes_the_mistaken_ones_are_shown(tmp_path: Path) -> None:
    classes = [f"class {place}" for place in range(30)]
    confusion = np.diag(np.full(30, 100)) + np.tri(30, k=-1, dtype=np.int64)
    confusion[29] = 0
    counts = np.stack([np.diagonal(confusion), confusion.sum(0), confusion.sum(1)])[None].repeat(6, 0)
    for row in ("baseline", "gp"):
        counted(tmp_path, row, 0, counts, classes=classes, confusion=confusion)
    (table,) = read_tables(tmp_path)
    found = confusions(table)
    assert found is not None
    assert (len(found.classes), found.of) == (MOST_CLASSES, 29), "class 29 does not occur"
    assert found.classes[-1] == "class 28", "it is missed most often"
    assert f"Of the 29 classes, the {MOST_CLASSES}" in html(table)


def test_no_confusion_without_matrices(tmp_path: Path) -> None:
    for row in ("baseline", "gp"):
        counted(tmp_path, row, 0, counts_with(0.7, np.random.default_rng(0)))
    (table,) = read_tables(tmp_path)
    assert confusions(table) is None
    assert 'id="confusion-row"' not in html(table)


def test_images_with_the_largest_gains(table: Table, page: str) -> None:
    found = gains(table)
    assert found is not None
    assert (found.row, found.baseline) == ("ResNet-101 + PPM", "ResNet-101 Baseline")
    assert (found.kept, found.of) == (6, 20)
    from ocnet_pl.record.image_scores import image_scores

    scores = [np.mean([image_scores(row.results[seed]).miou for seed in range(3)], 0) for row in table.rows]
    difference = 100 * (scores[2] - scores[0])[:6]
    assert [image.name for image in found.gains] == [f"image{place}" for place in np.argsort(-difference)[:MOST]]
    assert found.gains[0].caption == f"{difference.max():+.2f} points"
    assert found.losses == [], "PPM is better everywhere"
    assert found.classes == [("road", "#804080"), ("car", "#00008e"), ("not labelled", "#000000")]
    *_, (words, uri) = found.gains[0].pictures
    assert "is right in 33.3 % of the pixels" in words
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB"))
    assert picture[0, 1].tolist() == list(FIRST)
    assert picture[0, 0].tolist() == [0, 0, 0], "not labelled"
    assert picture[0, 2].tolist() not in (list(FIRST), list(SECOND))
    assert page.count(found.gains[0].name) >= 1


def test_missing_pictures_leave_the_images_out(tmp_path: Path) -> None:
    written(tmp_path)
    for picture in tmp_path.glob("ppm/seed-0/samples/image[0-4]-prediction.png"):
        picture.unlink()
    (tmp_path / "ppm/seed-0/samples/image5-truth.png").write_bytes(b"damaged")
    (table,) = read_tables(tmp_path)
    assert gains(table) is None
    assert any("image5-truth.png" in why for why in table.notes.unreadable)
    assert "gains and loses" not in html(table)


def test_values_under_the_cursor(table: Table, elements: Elements) -> None:
    loss, score = (content(elements, f"curve-{place}") for place in (1, 2))
    assert [of["label"] for of in score["curves"]] == [row.label for row in table.rows]
    assert score["curves"][2] == {"label": "ResNet-101 + PPM", "steps": [4, 9], "mean": [50.0, 90.0], "sd": [0.0, 0.0]}
    assert loss["curves"][0]["mean"][1] == 1.5
    assert 0 < score["left"] < score["right"] < 1
    assert 0 < score["top"] < score["bottom"] < 1
    assert score["low"] < 4 < 9 < score["high"]


def test_a_long_curve_keeps_its_last_step_and_a_diverged_one_has_gaps(tmp_path: Path) -> None:
    long = [(step, 2.0) for step in range(1001)]
    result("gp", 0, 70, curves={"train/loss": long}).write(tmp_path / "gp/seed-0/result.json")
    diverged = [(0, 2.0), (1, 1e35)]
    result("ppm", 0, 70, curves={"train/loss": diverged}).write(tmp_path / "ppm/seed-0/result.json")
    (table,) = read_tables(tmp_path)
    values = curves.readings(curves.curve(table, curves.LOSS), table, curves.LOSS)
    gp, ppm = values["curves"]
    assert gp["steps"][-1] == 1000
    assert 150 < len(gp["steps"]) <= 200
    assert (ppm["mean"], ppm["sd"]) == ([2.0, None], None)
    json.dumps(values, allow_nan=False)


def test_names_at_the_ends_of_curves_do_not_overlap(tmp_path: Path) -> None:
    for row in ("baseline", "gp", "ppm", "base_oc", "asp_oc"):
        result(row, 0, 70).write(tmp_path / row / "seed-0/result.json")
    (table,) = read_tables(tmp_path)
    figure = curves.curve(table, curves.SCORE)
    svg(figure)  # lays it out
    boxes = sorted((Text.get_window_extent(text) for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 5
    assert all(one.y1 <= two.y0 for one, two in itertools.pairwise(boxes))


def test_a_table_without_curves_and_baseline_is_a_page(tmp_path: Path) -> None:
    run = replace(result("gp", 0, 70, table="mine"), curves={})
    run.write(tmp_path / "gp" / "seed-0" / "result.json")
    assert Result.read(tmp_path / "gp" / "seed-0" / "result.json").curves == {}
    (table,) = read_tables(tmp_path)
    elements = Elements(html(table))
    assert [text for _, text in elements.named("h2")] == [
        "Table", "Mean, standard deviation, and every seed", "By class",
    ]  # fmt: skip
    assert verdict(table) == ""


def test_the_page_works_in_a_browser(page: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    (tmp_path / "table.html").write_text(page)
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        shown = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
        problems: list[str] = []
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        shown.goto((tmp_path / "table.html").as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= 390, "the page itself does not scroll sideways"
        assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 25, 28)"

        heading = shown.locator("table.stacked th button").nth(1)
        names = shown.locator("table.stacked tbody th")
        heading.click()
        assert names.first.text_content() == "ResNet-101 + PPM"
        assert shown.locator("table.stacked th[aria-sort=descending]").count() == 1
        heading.click()
        assert names.last.text_content() == "ResNet-101 + PPM"

        chart = shown.locator(".curve > div").last
        chart.focus()
        shown.keyboard.press("Home")
        output = shown.locator(".curve output").last
        assert "Step 4: " in (output.text_content() or "")
        shown.keyboard.press("ArrowRight")
        assert re.match(r"Step 9: ResNet-101 \+ PPM 90 ± 0", output.text_content() or "")

        before = shown.locator("#confusion").inner_text()
        shown.locator("#confusion-minus").select_option("")
        shown.locator("#confusion-minus").select_option("0")
        assert shown.locator("#confusion").inner_text() == before, "the script writes what the server wrote"
        shown.locator("#confusion-row").select_option("0")
        assert shown.locator("#confusion tbody td").all_inner_texts() == ["0"] * 4
        browser.close()
    assert problems == []
