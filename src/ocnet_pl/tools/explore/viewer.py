"""State of the explorer page: attention of single pixels of a few images, by a few networks."""

import base64
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ocnet_pl.dataset.reading import Bytes, read_image
from ocnet_pl.drawing.overlay import colour
from ocnet_pl.errors import UserError
from ocnet_pl.metrics import IGNORE
from ocnet_pl.model.object_context import ObjectContext
from ocnet_pl.resizing import resize_image
from ocnet_pl.tools.explore.context_maps import pick_points
from ocnet_pl.tools.explore.measuring import own_shares
from ocnet_pl.tools.explore.opening import OpenedCheckpoint, find_truth, refuse_several_data_sets

LONGEST_SIDE = 2048
"""Larger uploads are shrunk to this size, so that attention stays affordable."""
MAX_UPLOADS = 16
"""Uploads that are kept in memory: 200 MB at `LONGEST_SIDE` squared pixels."""
_CACHED_PASSES = 4
_LIKELY_CLASSES = 6
_START_SECONDS = 10.0


@dataclass(frozen=True)
class ViewedImage:
    """An image of the page, and its train ids (H, W) if they are known."""

    name: str
    image: Bytes
    truth: Bytes | None


@dataclass(frozen=True)
class _Pass:
    """Forward pass of a network: attention, train ids (H, W) and probabilities (K, H, W) in half precision."""

    context: ObjectContext
    prediction: Bytes
    probabilities: Tensor


class Viewer:
    """Networks and images of the page. It runs a network once for each image.

    Args:
        checkpoints: networks of one data set.
        images: photographs; those in the data set are shown with their truth.

    Attributes:
        images: images by id; an id is never reused.
        dropped: names of the last uploads that were dropped.

    Raises:
        UserError: networks of several data sets, or images that cannot be read.
    """

    def __init__(self, checkpoints: Sequence[OpenedCheckpoint], images: Sequence[Path]) -> None:
        refuse_several_data_sets(checkpoints)
        self.checkpoints = list(checkpoints)
        self.data = checkpoints[0].data
        viewed = (ViewedImage(path.name, read_image(path), find_truth(self.data, path)) for path in images)
        self.images = dict(enumerate(viewed))
        self.dropped: list[str] = []
        self._given = self._next = len(self.images)
        self._lock = threading.Lock()
        self._passes = lru_cache(_CACHED_PASSES)(self._run)

    def add(self, name: str, image: Bytes) -> int:
        """Add an upload, shrunk to `LONGEST_SIDE`, and return its id; beyond `MAX_UPLOADS`, drop the oldest upload."""
        height, width = image.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        batch = torch.tensor(image).permute(2, 0, 1).unsqueeze(0)
        shrunk = resize_image(batch, (max(1, round(height * scale)), max(1, round(width * scale))))
        with self._lock:
            image_id, self._next = self._next, self._next + 1
            self.images[image_id] = ViewedImage(name, shrunk[0].permute(1, 2, 0).contiguous().numpy(), None)
            while len(self.images) > self._given + MAX_UPLOADS:
                oldest = min(upload for upload in self.images if upload >= self._given)
                self.dropped = [*self.dropped, self.images.pop(oldest).name][-MAX_UPLOADS:]
            return image_id

    def layer(self, name: str, image: int, checkpoint: int) -> Bytes:
        """`image`, `truth` or `prediction` as RGB (H, W, 3).

        Raises:
            UserError: another name, or an unknown truth.
        """
        viewed = self._viewed(image)
        if name == "image":
            return viewed.image
        if name == "prediction":
            return colour(self._pass(image, checkpoint).prediction, self.data.palette)
        if name == "truth" and viewed.truth is not None:
            return colour(viewed.truth, self.data.palette)
        raise UserError(f"{viewed.name}: has no {name}")

    def start(self) -> dict[str, int]:
        """Image, checkpoint, map and pixel to begin with.

        On the first image, the attention of this pixel exceeds uniform attention most on its own class (the predicted
        one, where the truth is unknown), among one pixel of every large class. The first checkpoint of every head is
        tried, until `_START_SECONDS` have passed.
        """
        image, viewed = next(iter(self.images.items()))
        first = {one.label: number for number, one in reversed(list(enumerate(self.checkpoints)))}
        height, width = viewed.image.shape[:2]
        best = -math.inf
        found: tuple[int, int, Sequence[int]] = (0, 0, (width // 2, height // 2))
        begin = time.monotonic()
        for number in sorted(first.values()):
            forward = self._pass(image, number)
            classes = forward.prediction if viewed.truth is None else viewed.truth
            points = pick_points(classes)
            for index in range(len(forward.context.names)):
                for point, share in zip(points, own_shares(forward.context, index, classes, points), strict=True):
                    if share and share[0] - share[1] > best:
                        best, found = share[0] - share[1], (number, index, point)
            if time.monotonic() - begin > _START_SECONDS:
                break
        checkpoint, index, (x, y) = found
        return {"image": image, "checkpoint": checkpoint, "map": index, "x": x, "y": y}

    def look(self, image: int, checkpoint: int, index: int, x: int, y: int) -> dict[str, Any]:
        """Attention and prediction of a network at a pixel, as plain content for the page.

        * `x_edges`, `y_edges`: borders between the positions, in pixels;
        * `weights`: weights of the positions relative to uniform attention (float32 in base64), -1 for positions out of
          the pixel's reach; `top`: their maximum;
        * `probabilities`: ids and probabilities of the likeliest classes;
        * `truth`: name of the true class; `own`: share of the map on it; `uniform`: share of uniform attention.

        Raises:
            UserError: a pixel outside the image.
        """
        truth = self._viewed(image).truth
        forward = self._pass(image, checkpoint)
        context = forward.context
        if index >= len(context.names):
            raise UserError(f"map={index}: this head has {len(context.names)} maps, counted from 0")
        positions = context.positions(index)
        (row,) = context.rows(index, [(x, y)]).float().cpu()
        (uniform,) = context.uniform(index, [(x, y)]).float().cpu()
        within = uniform > 0
        (share,) = own_shares(context, index, truth, [(x, y)])
        weights = torch.where(within, row / uniform.max(), -1).numpy()  # uniform is one number within reach
        probabilities = forward.probabilities[:, y, x].float().cpu().numpy()
        likely = np.argsort(-probabilities, kind="stable")[:_LIKELY_CLASSES].tolist()
        true_class = None if truth is None or truth[y, x] == IGNORE else self.data.classes[truth[y, x]]
        return {
            "x_edges": positions.edges(1).tolist(),
            "y_edges": positions.edges(0).tolist(),
            "weights": base64.b64encode(weights.astype("<f4").tobytes()).decode(),
            "top": float(weights.max()),
            "probabilities": [[id_, float(probabilities[id_])] for id_ in likely],
            "truth": true_class,
            "own": share[0] if share else None,
            "uniform": share[1] if share else None,
        }

    def _viewed(self, image: int) -> ViewedImage:
        viewed = self.images.get(image)
        if viewed is None and self._given <= image < self._next:
            raise UserError(f"this image was dropped: the page keeps the last {MAX_UPLOADS} uploads; upload it again")
        if viewed is None:
            raise UserError(f"image={image}: no such image; reload the page")
        return viewed

    def _pass(self, image: int, checkpoint: int) -> _Pass:
        if checkpoint >= len(self.checkpoints):
            raise UserError(f"checkpoint={checkpoint}: no such checkpoint; reload the page")
        with self._lock:  # one at a time: two would need twice the memory, and may be equal
            return self._passes(image, checkpoint)

    @torch.inference_mode()
    def _run(self, image: int, checkpoint: int) -> _Pass:
        predictor, pixels = self.checkpoints[checkpoint].predictor, self._viewed(image).image
        try:
            logits = predictor.predict_logits(pixels)
        except torch.OutOfMemoryError:
            raise UserError("the image does not fit into the GPU's memory; restart with --device cpu") from None
        if not bool(logits.isfinite().all()):
            raise UserError("the network's output is not finite: its training diverged; choose another checkpoint")
        prediction = logits.argmax(0).to(torch.uint8).cpu().numpy()
        return _Pass(predictor.attend(pixels), prediction, logits.softmax(0).half())
