"""A submission takes hours: one that was broken off goes on, and never with masks of another network."""

import json
from collections.abc import Mapping
from pathlib import Path

from ocnet_pl.errors import UserError
from ocnet_pl.rendering.predictions import Files, refuse_loss, result_file
from ocnet_pl.run.directory import read_json
from ocnet_pl.run.identity import Plain, config_difference

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
    if begun and (other := config_difference(read_json(told), origin)):
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
            file.write(json.dumps(origin, indent=1).encode())
    return missing
