"""The page of `ocnet-explore serve`: what it answers, and what a browser makes of it."""

import base64
import io
import json
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
from ocnet_pl.tools.explore.opening import Explored, open_checkpoint
from ocnet_pl.tools.explore.picture import first_images
from ocnet_pl.tools.explore.server import UPLOAD_TYPE, application
from ocnet_pl.tools.explore.viewer import MOST_ADDED, Viewer


@pytest.fixture(scope="module")
def explored(trained: Path) -> list[Explored]:
    heads = ("base_oc", "pyramid_oc")
    return [open_checkpoint(Path(checkpoint(trained / "runs", head)), torch.device("cpu")) for head in heads]


@pytest.fixture(scope="module")
def address(explored: list[Explored]) -> Iterator[str]:
    """Of the page."""
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


def test_the_page_shows_the_maps_of_the_network(address: str, explored: list[Explored]) -> None:
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
        assert bool((equal == 0).any()) is (grid == "6"), "equal weights stay in the cell"
        np.testing.assert_allclose(weights.reshape(expected.shape), expected / equal.max(), rtol=1e-5)
        assert answer["x_edges"] == context.positions(which).edges(1).tolist()
        assert (answer["y_edges"][0], answer["y_edges"][-1]) == (0, 32)
        assert 0 < answer["own"] <= 1, grid
        assert sum(share for _, share in answer["probabilities"]) <= 1.01
    prediction = np.asarray(Image.open(io.BytesIO(get(f"{address}/picture?layer=prediction&image=0&checkpoint=1"))))
    one = explored[1]
    assert np.array_equal(prediction, one.data.palette[one.predictor.predict(image)])


def test_a_picture_of_ones_own(address: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 3000, 3), dtype=np.uint8)
    number = upload(address, png(image))
    seen = json.loads(get(f"{address}/state"))["images"][number]
    assert seen == {"name": "mine.png", "width": 2048, "height": 27, "truth": False}
    answer = json.loads(get(f"{address}/look?image={number}&checkpoint=0&map=0&x=2047&y=26"))
    assert answer["truth"] is answer["own"] is None


def test_wrong_questions_are_told(address: str) -> None:
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
def test_any_other_question_is_one_line(query: str, address: str) -> None:
    answer = refused(f"{address}/{query}")
    assert "\n" not in answer
    assert answer.isprintable()
    assert len(answer) < 300


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"GIF89a" + b"\0" * 99, b"%PDF-1.4"])
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "a/b\\c.png", "x" * 4000 + ".png", "%00%1b%0a.png", "", "..", "%ff.png"]
)
def test_any_other_upload_is_one_line(content: bytes, name: str, address: str) -> None:
    answer = refused(f"{address}/upload?name={name}", data=content, headers={"Content-Type": UPLOAD_TYPE})
    assert "\n" not in answer
    assert answer.isprintable()
    assert len(answer) < 300
    assert "/" not in answer.split(":")[0]


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data", "text/plain", ""])
def test_an_upload_of_another_type_is_refused(kind: str, address: str) -> None:
    refused(f"{address}/upload", data=png(np.zeros((8, 8, 3), np.uint8)), headers={"Content-Type": kind})


def test_the_oldest_uploads_make_room(explored: list[Explored]) -> None:
    viewer = Viewer(explored, first_images(explored[0].data, 1))
    image = np.zeros((8, 8, 3), np.uint8)
    numbers = [viewer.add(f"{i}.png", image) for i in range(MOST_ADDED + 3)]
    assert numbers == list(range(1, MOST_ADDED + 4)), "a number means one image only"
    assert list(viewer.images) == [0, *numbers[3:]]
    assert viewer.dropped == ["0.png", "1.png", "2.png"]
    assert viewer.layer("image", 0, 0).shape == (32, 64, 3)
    with pytest.raises(UserError, match="make room"):
        viewer.layer("image", 1, 0)
    with TestClient(application(viewer), base_url="http://localhost") as page:
        state = page.get("/state").json()
        assert (state["numbers"], state["dropped"]) == ([0, *numbers[3:]], ["0.png", "1.png", "2.png"])
        assert len(state["images"]) == 1 + MOST_ADDED


def test_a_diverged_network_is_one_line(explored: list[Explored], monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = Viewer(explored, first_images(explored[0].data, 1))
    monkeypatch.setattr(explored[0].predictor, "protocol", lambda *_: torch.full((1, 5, 32, 64), torch.nan))
    with pytest.raises(UserError, match="not finite"):
        viewer.look(0, 0, 0, 1, 1)


def test_a_port_that_is_taken_is_told(
    runs: Path,
    call: Main,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert call("explore", "serve", checkpoint(runs, "base_oc"), "--port", port, "--device", "cpu") == 2
    assert f"--port {port}: cannot be had" in capsys.readouterr().err


def test_in_a_browser(address: str, tmp_path: Path) -> None:
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
        pixel.get_by_text("Pixel 32,16").wait_for()
        canvas = page.locator("#canvas")
        box = canvas.bounding_box()
        assert box is not None

        def picture() -> bytes:
            return canvas.screenshot()

        def middle(x: int, y: int) -> tuple[float, float]:
            """Of a pixel of the image of 64x32."""
            return box["x"] + box["width"] * (x + 0.5) / 64, box["y"] + box["height"] * (y + 0.5) / 32

        before = picture()
        page.mouse.move(*middle(57, 3))  # it follows
        pixel.get_by_text("Pixel 57,3").wait_for()
        page.mouse.click(*middle(16, 24))
        pixel.get_by_text("Pixel 16,24").wait_for()
        page.mouse.move(*middle(1, 1))  # and stays where it was clicked
        assert pixel.text_content() == "Pixel 16,24"
        assert page.locator(".bar").count() == 6
        assert picture() != before
        looked = picture()
        page.locator("#strength").fill("0")
        assert picture() != looked
        page.locator("#head").select_option("Pyramid-OC")
        page.locator("#map").select_option("6x6 cells")
        page.wait_for_function("answer.weights.filter((w) => w > 0).length < answer.weights.length / 4")
        page.locator("#layer").select_option("truth")
        page.locator("#upload").set_input_files(
            {"name": "mine.png", "mimeType": "image/png", "buffer": png(np.full((48, 48, 3), 99, np.uint8))}
        )
        pixel.get_by_text("Pixel 24,24").wait_for()
        assert page.locator("#image option:checked").text_content() == "mine.png"
        assert page.locator("#layer").input_value() == "image"
        page.locator("#upload").set_input_files({"name": "bad.png", "mimeType": "image/png", "buffer": b"bad"})
        page.locator("#error").get_by_text("bad.png").wait_for()
        browser.close()
    assert [text for text in problems if "400" not in text] == []
    assert {url.split("/")[2] for url in asked} == {address.split("/")[2]}
