"""The page of `ocnet-explore serve`: its responses, and its behaviour in a browser."""

import base64
import io
import json
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from conftest import Main, checkpoint
from PIL import Image
from starlette.testclient import TestClient

from ocnet_pl.errors import UserError
from ocnet_pl.logits import MapLogits
from ocnet_pl.tools.explore.context_maps import pick_points
from ocnet_pl.tools.explore.opening import OpenedCheckpoint, first_images, open_checkpoint
from ocnet_pl.tools.explore.server import UPLOAD_TYPE, application
from ocnet_pl.tools.explore.viewer import MAX_UPLOADS, Viewer


@pytest.fixture(scope="module")
def explored(trained: Path) -> list[OpenedCheckpoint]:
    paths = [Path(checkpoint(trained / "runs", head)) for head in ("base_oc", "pyramid_oc")]
    return [open_checkpoint(path, torch.device("cpu"), attending=True) for path in paths]


@pytest.fixture(scope="module")
def address(explored: list[OpenedCheckpoint]) -> Iterator[str]:
    """Address of the page."""
    viewer = Viewer(explored, first_images(explored[0].data, 2))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application(viewer), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def get(url: str, **request: Any) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, **request), timeout=30) as reply:
        content: bytes = reply.read()
    return content


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def upload(address: str, content: bytes, **headers: str) -> int:
    headers = {"Content-Type": UPLOAD_TYPE, **headers}
    number: int = json.loads(get(f"{address}/upload?name=mine.png", data=content, headers=headers))
    return number


def refused(url: str, **request: Any) -> str:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(url, **request)
    with caught.value as reply:
        assert reply.code == 400
        return reply.read().decode()


def test_the_page_shows_the_maps_of_the_networks(address: str, explored: list[OpenedCheckpoint]) -> None:
    assert b"What does this pixel look at?" in get(address)
    state = json.loads(get(f"{address}/state"))
    assert [one["head"] for one in state["checkpoints"]] == ["Base-OC", "Pyramid-OC"]
    assert state["checkpoints"][0]["name"] == "base_oc, seed 0, step 1, last"
    assert state["checkpoints"][1]["maps"][-1] == "6x6 cells"
    assert len(state["images"]) == 2
    image = np.asarray(Image.open(io.BytesIO(get(f"{address}/picture?layer=image&image=0&checkpoint=0"))))
    for number, grid in enumerate(("1", "6")):
        which = 3 * number
        answer = json.loads(get(f"{address}/look?image=0&checkpoint={number}&map={which}&x=60&y=3"))
        weights = np.frombuffer(base64.b64decode(answer["weights"]), "<f4")
        context = explored[number].predictor.attend(image)
        expected, equal = (of(which, [(60, 3)])[0] for of in (context.rows, context.uniform))
        assert bool((equal == 0).any()) is (grid == "6"), "uniform attention stays in the cell"
        relative = np.where(equal > 0, expected / equal.max(), -1)
        np.testing.assert_allclose(weights.reshape(expected.shape), relative, rtol=1e-5)
        assert answer["x_edges"] == context.positions(which).edges(1).tolist()
        assert (answer["y_edges"][0], answer["y_edges"][-1]) == (0, 32)
        assert 0 < answer["own"] <= 1, grid
        assert sum(share for _, share in answer["probabilities"]) <= 1.01
    prediction = np.asarray(Image.open(io.BytesIO(get(f"{address}/picture?layer=prediction&image=0&checkpoint=1"))))
    one = explored[1]
    assert np.array_equal(prediction, one.data.palette[one.predictor.predict(image)])


def test_the_page_opens_on_the_most_telling_pixel(explored: list[OpenedCheckpoint]) -> None:
    """Of one pixel in every large class and all maps, none has a greater share above that of uniform attention."""
    viewer = Viewer(explored, first_images(explored[0].data, 2))
    start = viewer.start()

    def telling(checkpoint: int, index: int, x: int, y: int) -> float:
        answer = viewer.look(0, checkpoint, index, x, y)
        return float(answer["own"] - answer["uniform"])

    best = telling(start["checkpoint"], start["map"], start["x"], start["y"])
    truth = viewer.images[0].truth
    assert start["image"] == 0
    assert truth is not None
    maps = [(number, index) for number, one in enumerate(explored) for index in range(len(one.maps))]
    everywhere = [telling(*which, x, y) for which in maps for x, y in pick_points(truth)]
    assert best == pytest.approx(max(everywhere))
    assert min(everywhere) < best


def test_an_upload_is_shrunk_and_has_no_truth(address: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 3000, 3), dtype=np.uint8)
    number = upload(address, png(image))
    seen = json.loads(get(f"{address}/state"))["images"][number]
    assert seen == {"name": "mine.png", "width": 2048, "height": 27, "truth": False}
    answer = json.loads(get(f"{address}/look?image={number}&checkpoint=0&map=0&x=2047&y=26"))
    assert answer["truth"] is answer["own"] is None


def test_invalid_requests_are_explained(address: str) -> None:
    assert "outside the image" in refused(f"{address}/look?image=0&checkpoint=0&map=0&x=64&y=0")
    assert "x=abc" in refused(f"{address}/look?image=0&checkpoint=0&map=0&x=abc&y=0")
    assert "no truths" in refused(f"{address}/picture?layer=truths&image=0&checkpoint=0")
    refused(f"{address}/look?image=99&checkpoint=0&map=0&x=0&y=0")
    headers = {"Content-Type": UPLOAD_TYPE}
    assert "mine.png" in refused(f"{address}/upload?name=../mine.png", data=b"no picture", headers=headers)
    refused(f"{address}/upload", data=png(np.zeros((8, 8, 3), np.uint8)), headers={"Content-Type": "text/plain"})
    assert "Invalid host" in refused(f"{address}/state", headers={"Host": "evil.example"})


NINES = "9" * 5000


@pytest.mark.parametrize(
    "query",
    [
        f"look?image={NINES}&checkpoint=0&map=0&x=0&y=0", f"look?image=0&checkpoint={NINES}&map=0&x=0&y=0",
        f"look?image=0&checkpoint=0&map=0&x={NINES}&y=0", "look", "look?image=0",
        "look?image=-1&checkpoint=0&map=0&x=0&y=0",
        "look?image=0&checkpoint=9&map=0&x=0&y=0", "look?image=0&checkpoint=0&map=99&x=0&y=0",
        "look?image=0&checkpoint=0&map=0&x=%D9%A3&y=0", "look?image=0&checkpoint=0&map=0&x=1.5&y=0",
        "look?image=0&checkpoint=0&map=0&x=0&y=999999999", "picture?image=0&checkpoint=0", "picture?layer=image",
        "picture?layer=prediction&image=0&checkpoint=7", "picture?layer=%00%1b&image=0&checkpoint=0",
        f"picture?layer={NINES}&image=0&checkpoint=0", "picture?layer=truth&image=99&checkpoint=0",
    ],
)  # fmt: skip
def test_an_invalid_request_gets_one_line(query: str, address: str) -> None:
    answer = refused(f"{address}/{query}")
    assert "\n" not in answer
    assert answer.isprintable()
    assert len(answer) < 300


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\0" * 99, b"%PDF-1.4"])
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b\\c.png", "x" * 4000 + ".png", "%00%1b%0a.png", "", "..", "%ff.png"]
)
def test_an_invalid_upload_gets_one_line(content: bytes, name: str, address: str) -> None:
    answer = refused(f"{address}/upload?name={name}", data=content, headers={"Content-Type": UPLOAD_TYPE})
    assert "\n" not in answer
    assert answer.isprintable()
    assert len(answer) < 300
    assert "/" not in answer.split(":")[0]


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data", "text/plain", ""])
def test_an_upload_of_another_content_type_is_rejected(kind: str, address: str) -> None:
    refused(f"{address}/upload", data=png(np.zeros((8, 8, 3), np.uint8)), headers={"Content-Type": kind})


def test_the_oldest_uploads_are_dropped(explored: list[OpenedCheckpoint]) -> None:
    viewer = Viewer(explored, first_images(explored[0].data, 1))
    image = np.zeros((8, 8, 3), np.uint8)
    numbers = [viewer.add(f"{i}.png", image) for i in range(MAX_UPLOADS + 3)]
    assert numbers == list(range(1, MAX_UPLOADS + 4)), "an id is never reused"
    assert list(viewer.images) == [0, *numbers[3:]]
    assert viewer.dropped == ["0.png", "1.png", "2.png"]
    assert viewer.layer("image", 0, 0).shape == (32, 64, 3)
    with pytest.raises(UserError, match="image was dropped"):
        viewer.layer("image", 1, 0)
    with TestClient(application(viewer), base_url="http://localhost") as page:
        state = page.get("/state").json()
        assert (state["numbers"], state["dropped"]) == ([0, *numbers[3:]], ["0.png", "1.png", "2.png"])
        assert len(state["images"]) == 1 + MAX_UPLOADS


def test_a_diverged_network_gets_one_line(explored: list[OpenedCheckpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = Viewer(explored, first_images(explored[0].data, 1))
    monkeypatch.setattr(explored[0].predictor, "protocol", lambda *_: MapLogits(torch.full((1, 5, 32, 64), torch.nan)))
    with pytest.raises(UserError, match="not finite"):
        viewer.look(0, 0, 0, 1, 1)


def test_a_port_in_use_is_reported(
    runs: Path,
    call: Main,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert call("explore", "serve", checkpoint(runs, "base_oc"), "--port", port, "--device", "cpu") == 2
    assert f"port {port} is unavailable" in capsys.readouterr().err


def test_the_page_works_in_a_browser(address: str, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1300, "height": 800})
        problems: list[str] = []
        asked: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        pixel = page.locator("#pixel h2").first
        start = json.loads(get(f"{address}/start"))
        pixel.get_by_text(f"Pixel ({start['x']}, {start['y']})").wait_for()
        canvas = page.locator("#canvas")
        box = canvas.bounding_box()
        assert box is not None

        def picture() -> bytes:
            return canvas.screenshot()

        def middle(x: int, y: int) -> tuple[float, float]:
            """Centre of a pixel of the 64x32 image."""
            return box["x"] + box["width"] * (x + 0.5) / 64, box["y"] + box["height"] * (y + 0.5) / 32

        before = picture()
        page.mouse.move(*middle(57, 3))  # the map follows the cursor
        pixel.get_by_text("Pixel (57, 3)").wait_for()
        page.mouse.click(*middle(16, 24))
        pixel.get_by_text("Pixel (16, 24)").wait_for()
        page.mouse.move(*middle(1, 1))  # and stays after a click
        assert pixel.text_content() == "Pixel (16, 24)"
        assert page.locator(".bar").count() == 6
        assert picture() != before
        canvas.focus()  # keys move the pixel, which is announced
        for key in ("ArrowRight", "Shift+ArrowUp"):
            page.keyboard.press(key)
        pixel.get_by_text("Pixel (17, 14)").wait_for()
        page.locator("#announced").get_by_text("Pixel (17, 14)").wait_for()
        assert re.search("#.*checkpoint=.*x=17&y=14", page.url)

        page.locator("#checkpoint-1").select_option("1")  # two networks on one pixel
        page.locator("#networks > div").nth(1).wait_for()
        page.wait_for_function("panels[0].answer.x_edges && location.hash.includes('beside=1')")
        assert page.locator(".bar").count() == 12
        shared = page.url
        with page.expect_download() as download:
            page.locator("#save").click()
        assert download.value.suggested_filename == "object-context-17-14.png"
        with Image.open(download.value.path()) as saved:
            assert saved.width > 2 * page.evaluate("panels[0].canvas.width"), "both maps"
        page.locator("#checkpoint-1").select_option("")
        page.wait_for_function("!location.hash.includes('beside')")
        page.goto("about:blank")
        page.goto(shared)  # the address holds what was shown
        pixel.get_by_text("Pixel (17, 14)").wait_for()
        assert page.locator("#checkpoint-1").input_value() == "1"
        page.locator("#checkpoint-1").select_option("")
        page.wait_for_function("!location.hash.includes('beside')")
        page.goto(address + "/#image=99&checkpoint=0&map=0&x=1&y=1")  # not here: the page begins as usual
        page.reload()
        pixel.get_by_text(f"Pixel ({start['x']}, {start['y']})").wait_for()

        looked = picture()
        page.locator("#strength").fill("0")
        assert picture() != looked
        page.locator("#head").select_option("Pyramid-OC")
        page.locator("#map").select_option("6x6 cells")
        page.wait_for_function("answer.weights.filter((w) => w === -1).length > answer.weights.length / 2")
        page.locator("#layer").select_option("truth")
        page.locator("#upload").set_input_files(
            {"name": "mine.png", "mimeType": "image/png", "buffer": png(np.full((48, 48, 3), 99, np.uint8))}
        )
        pixel.get_by_text("Pixel (24, 24)").wait_for()
        assert page.locator("#image option:checked").text_content() == "mine.png"
        assert page.locator("#layer").input_value() == "image"
        page.locator("#upload").set_input_files({"name": "bad.png", "mimeType": "image/png", "buffer": b"bad"})
        page.locator("#error").get_by_text("bad.png").wait_for()
        browser.close()
    assert [text for text in problems if "400" not in text] == []
    assert {url.split("/")[2] for url in asked} == {address.split("/")[2]}
