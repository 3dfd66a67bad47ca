"""Predictions that take hours: interrupted ones go on, and never beside those of another network or protocol."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from ocnet_pl.errors import UserError
from ocnet_pl.record.identity import Plain, config_difference
from ocnet_pl.record.sealed import read_record
from ocnet_pl.tools.predict.files import Files, mask_origin, refuse_loss, result_file

ORIGIN = "submission.json"
"""In the folder of the masks, not in the archive: which network made them, under which protocol, of which images."""


def open_submission(
    folder: Path, archive: Path, plan: Mapping[Path, Files], origin: Plain, *, overwrite: bool
) -> dict[Path, Files]:
    """Says in the folder whose masks it holds, and finds out which are missing.

    Args:
        folder: of the masks.
        archive: that will hold them all.
        plan: images, and where the mask of each goes.
        origin: everything that decides the masks.
        overwrite: start over; what is there goes first, so that no two networks' masks ever lie side by side.

    Returns:
        The part of the plan that is still to be done.

    Raises:
        UserError: something else is there already, or the folder cannot be written.
    """
    told = folder / ORIGIN
    begun = told.is_file() and not overwrite
    before = read_record(told, Plain, "a file of ocnet-predict", "give another --out, or --overwrite") if begun else {}
    if begun and (other := config_difference(before, origin)):
        raise UserError(
            f"{folder}: holds a submission of another origin ({'; '.join(other)}); give another --out, or --overwrite"
        )
    missing = {image: files for image, files in plan.items() if not (begun and files["mask"].is_file())}
    if missing:
        replaced = [*(files["mask"] for files in missing.values()), archive]
        refuse_loss(replaced, plan, overwrite=overwrite)
        for path in replaced:
            path.unlink(missing_ok=True)
        with result_file(told) as file:
            file.write(json.dumps(origin, indent=1, allow_nan=False).encode())
    return missing


def missing_predictions(plan: Mapping[Path, Files], made_with: Plain, *, overwrite: bool) -> dict[Path, Files]:
    """Find out which images have no results yet; every mask names what it was made with.

    Args:
        plan: images, and where the results of each go.
        made_with: everything but the image that decides the results.
        overwrite: start over.

    Returns:
        The part of the plan that is still to be done.

    Raises:
        UserError: a result would replace what is not known to be of the same image, network and protocol.
    """
    results = [path for files in plan.values() for path in files.values()]
    if overwrite or not any(path.exists() for path in results):
        refuse_loss(results, plan, overwrite=overwrite)
        return dict(plan)
    missing = {}
    for image, files in plan.items():
        before = mask_origin(files["mask"])
        other = list(_differences(before, mask_of(image, made_with))) if before else []
        if other:
            raise UserError(
                f"{files['mask']}: was made otherwise ({'; '.join(other)}); give another --out, or --overwrite"
            )
        if before is None or not all(path.is_file() for path in files.values()):
            missing[image] = files
    # What lies beside a mask of the same origin was written after it.
    unknown = [path for files in missing.values() if not mask_origin(files["mask"]) for path in files.values()]
    refuse_loss(results, plan, overwrite=True)
    refuse_loss(unknown, plan, overwrite=False)
    return missing


def mask_of(image: Path, made_with: Plain) -> Plain:
    """What the mask of an image names as its origin."""
    try:
        content = image.read_bytes()
    except OSError:  # told when it is predicted
        content = b""
    return {**made_with, "image": hashlib.sha256(content).hexdigest()[:16]}


def _differences(before: Plain, now: Plain) -> Iterator[str]:
    if before.get("image") != now["image"]:
        yield "from another image of this name"
    yield from config_difference({**before, "image": now["image"]}, now)
