"""Web server of `ocnet-explore serve`: attention of the pixel under the cursor. It answers this machine only."""

import asyncio
import io
import re
import socket
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ocnet_pl.dataset.reading import decode_image
from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.tools.explore.viewer import Viewer

HOST = "127.0.0.1"
MAX_UPLOAD_BYTES = 64 * 2**20
UPLOAD_TYPE = "application/octet-stream"
"""Content type of an upload. A form of another site cannot send it, and browsers block its scripts (no CORS)."""
_LONGEST_NAME = 80
_COLOURS = np.concatenate(
    [mpl.colormaps["PuOr_r"](np.linspace(0, 0.5, 128)), mpl.colormaps["Oranges"](np.linspace(0, 0.7, 128))]
)
"""Dark purple below uniform attention, bright orange above it: colour-blind readers can tell them apart."""


def serve(viewer: Viewer, port: int, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C (`KeyboardInterrupt`).

    Args:
        viewer: content of the page.
        port: port of this machine.
        ready: called when the page can be opened.

    Raises:
        UserError: the port is in use.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"port {port} is unavailable ({error}); choose another with --port") from error
        listener.listen()
        ready()
        server = uvicorn.Server(uvicorn.Config(application(viewer), log_level="warning"))
        server.run(sockets=[listener])


def application(viewer: Viewer) -> Starlette:
    """The page and its requests. Everything is computed in threads, one forward pass at a time."""

    decoding = asyncio.Lock()

    def page(request: Request) -> Response:
        template = files("ocnet_pl.tools.explore") / "explore.html"
        return HTMLResponse(template.read_text(encoding="utf-8"))

    def state(request: Request) -> Response:
        return JSONResponse(_page_content(viewer))

    def start(request: Request) -> Response:
        return JSONResponse(viewer.start())

    def picture(request: Request) -> Response:
        layer = viewer.layer(_short(request.query_params.get("layer", "")), *_numbers(request, "image", "checkpoint"))
        buffer = io.BytesIO()
        Image.fromarray(layer).save(buffer, "PNG", compress_level=1)
        return Response(buffer.getvalue(), media_type="image/png")

    def look(request: Request) -> Response:
        return JSONResponse(viewer.look(*_numbers(request, "image", "checkpoint", "map", "x", "y")))

    async def upload(request: Request) -> Response:
        if request.headers.get("content-type") != UPLOAD_TYPE:
            raise UserError(f"content type: expected {UPLOAD_TYPE}")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_UPLOAD_BYTES:
                raise UserError(f"image: larger than {MAX_UPLOAD_BYTES // 2**20} MiB; shrink it")
        name = _name(request.query_params.get("name", ""))
        async with decoding:  # decoded images are large
            image = await run_in_threadpool(decode_image, Path(name), bytes(body))
            return JSONResponse(await run_in_threadpool(viewer.add, name, image))

    async def refused(request: Request, error: Exception) -> Response:
        return PlainTextResponse(printable(str(error)), status_code=400)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=400)  # the client has gone

    reading = {"/": page, "/state": state, "/start": start, "/picture": picture, "/look": look}
    return Starlette(
        routes=[
            *(Route(path, answer, methods=["GET"]) for path, answer in reading.items()),
            Route("/upload", upload, methods=["POST"]),
        ],
        # A domain that points to this machine must not give another site access to the page.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
        exception_handlers={UserError: refused, ClientDisconnect: gone},
    )


def _page_content(viewer: Viewer) -> dict[str, Any]:
    images = dict(viewer.images)  # an upload may change them in another thread
    return {
        "checkpoints": [
            {
                "name": f"{one.row}, seed {one.seed}, step {one.step}, {one.path.stem}",
                "head": one.label,
                "maps": one.maps,
            }
            for one in viewer.checkpoints
        ],
        "images": [
            {
                "name": viewed.name,
                "width": viewed.image.shape[1],
                "height": viewed.image.shape[0],
                "truth": viewed.truth is not None,
            }
            for viewed in images.values()
        ],
        "numbers": list(images),
        "dropped": list(viewer.dropped),
        "classes": [
            {"name": name, "rgb": rgb}
            for name, rgb in zip(viewer.data.classes, viewer.data.palette.tolist(), strict=True)
        ],
        "colours": (_COLOURS[:, :3] * 255).round().astype(int).tolist(),
    }


def _numbers(request: Request, *keys: str) -> list[int]:
    """Query parameters; raises `UserError`: a parameter is missing or not a whole number from 0."""
    values = [request.query_params.get(key, "") for key in keys]
    for key, value in zip(keys, values, strict=True):
        if not re.fullmatch("[0-9]{1,9}", value):
            raise UserError(f"{key}={_short(value)}: expected a whole number below 10^9")
    return [int(value) for value in values]


def _name(given: str) -> str:
    """Name of an upload: the last part of its path, shortened."""
    return _short(re.split(r"[/\\]", given.strip().rstrip("/\\"))[-1].replace("\0", "")) or "image"


def _short(text: str) -> str:
    """Text for messages, shortened."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
