"""The page of `ocnet-explore serve`: what the attention looks at, under the cursor. For this machine only."""

import asyncio
import base64
import io
import re
import socket
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

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
from ocnet_pl.tools.explore.context_figure import COLOURS
from ocnet_pl.tools.explore.viewer import Viewer

HOST = "127.0.0.1"
LARGEST_UPLOAD = 64 * 2**20
"""Bytes."""
UPLOAD_TYPE = "application/octet-stream"
"""Of an upload. No form of another site can send it, and a script of another site is asked for leave first."""
_LONGEST_NAME = 80
_PROBABILITIES = 6
"""That are told, the highest."""


def serve(viewer: Viewer, port: int, ready: Callable[[], None]) -> None:
    """Answer until Ctrl-C, which leaves as `KeyboardInterrupt`.

    Args:
        viewer: what there is to see.
        port: of this machine.
        ready: called when the page can be opened.

    Raises:
        UserError: the port is taken.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(f"--port {port}: cannot be had ({error}); choose another") from error
        listener.listen()
        ready()
        server = uvicorn.Server(uvicorn.Config(application(viewer), log_level="warning"))
        server.run(sockets=[listener])


def application(viewer: Viewer) -> Starlette:
    """The page and what it asks for. Everything is computed in threads, one forward pass at a time."""

    decoding = asyncio.Lock()

    def page(request: Request) -> Response:
        template = files("ocnet_pl.tools.explore") / "explore.html"
        return HTMLResponse(template.read_text(encoding="utf-8"))

    def state(request: Request) -> Response:
        return JSONResponse(_state(viewer))

    def picture(request: Request) -> Response:
        layer = viewer.layer(_short(request.query_params.get("layer", "")), *_numbers(request, "image", "checkpoint"))
        buffer = io.BytesIO()
        Image.fromarray(layer).save(buffer, "PNG", compress_level=1)
        return Response(buffer.getvalue(), media_type="image/png")

    def look(request: Request) -> Response:
        answer = viewer.look(*_numbers(request, "image", "checkpoint", "map", "x", "y"))
        likely = np.argsort(-answer.probabilities, kind="stable")[:_PROBABILITIES].tolist()
        return JSONResponse(
            {
                "x_edges": answer.x_edges,
                "y_edges": answer.y_edges,
                "weights": base64.b64encode(answer.weights.astype("<f4").tobytes()).decode(),
                "top": float(answer.weights.max()),
                "probabilities": [[number, float(answer.probabilities[number])] for number in likely],
                "truth": None if answer.truth is None else viewer.data.classes[answer.truth],
                "own": answer.own,
                "uniform": answer.uniform,
            }
        )

    async def upload(request: Request) -> Response:
        if request.headers.get("content-type") != UPLOAD_TYPE:
            raise UserError(f"content type: {UPLOAD_TYPE} is expected")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_UPLOAD:
                raise UserError(f"an image may have {LARGEST_UPLOAD // 2**20} MiB; shrink it")
        name = _name(request.query_params.get("name", ""))
        async with decoding:  # decoded images are large
            image = await run_in_threadpool(decode_image, Path(name), bytes(body))
            return JSONResponse(await run_in_threadpool(viewer.add, name, image))

    async def refused(request: Request, error: Exception) -> Response:
        return PlainTextResponse(printable(str(error)), status_code=400)

    async def gone(request: Request, error: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    routes: list[tuple[str, Callable[..., Any], str]] = [
        ("/", page, "GET"),
        ("/state", state, "GET"),
        ("/picture", picture, "GET"),
        ("/look", look, "GET"),
        ("/upload", upload, "POST"),
    ]
    return Starlette(
        routes=[Route(path, answer, methods=[method]) for path, answer, method in routes],
        # A name that some site points at this machine must not open the page to that site.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
        exception_handlers={UserError: refused, ClientDisconnect: gone},
    )


def _state(viewer: Viewer) -> dict[str, Any]:
    images = dict(viewer.images)  # an upload may change them meanwhile
    return {
        "checkpoints": [
            {
                "name": f"{one.row}, seed {one.seed}, step {one.step}, {one.path.stem}",
                "head": one.label,
                "maps": one.maps,
            }
            for one in viewer.explored
        ],
        "images": [
            {
                "name": seen.name,
                "width": seen.image.shape[1],
                "height": seen.image.shape[0],
                "truth": seen.truth is not None,
            }
            for seen in images.values()
        ],
        "numbers": list(images),
        "dropped": list(viewer.dropped),
        "classes": [
            {"name": name, "rgb": rgb}
            for name, rgb in zip(viewer.data.classes, viewer.data.palette.tolist(), strict=True)
        ],
        "colours": (COLOURS(np.arange(256))[:, :3] * 255).round().astype(int).tolist(),
    }


def _numbers(request: Request, *keys: str) -> list[int]:
    """Raises: UserError: one that is missing or no whole number from 0 up."""
    values = [request.query_params.get(key, "") for key in keys]
    for key, value in zip(keys, values, strict=True):
        if not re.fullmatch("[0-9]{1,9}", value):
            raise UserError(f"{key}={_short(value)}: a whole number below 10^9 is expected")
    return [int(value) for value in values]


def _name(given: str) -> str:
    """What an upload is called: the last part of its path, not too long."""
    return _short(re.split(r"[/\\]", given.strip().rstrip("/\\"))[-1].replace("\0", "")) or "image"


def _short(text: str) -> str:
    """Cut what a reader would not read to the end."""
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"
