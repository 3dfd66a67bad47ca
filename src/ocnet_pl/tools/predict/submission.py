"""Predict a split for the data set's test server, and continue an interrupted prediction."""

import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ocnet_pl.config.compose import plain
from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.record.identity import Plain, config_difference
from ocnet_pl.record.sealed import read_record
from ocnet_pl.run.provenance import weights_sha256
from ocnet_pl.run.restoring import Restored
from ocnet_pl.tools.predict.files import Files, refuse_overwrite, result_file
from ocnet_pl.tools.predict.prediction import predict_images

ORIGIN = "submission.json"
"""File in the folder of the masks, not in the archive: their network, protocol and images."""
_REMEDY = "choose another --out, or add --overwrite"


def predict_split(restored: Restored, split: str, out: Path | None, *, overwrite: bool) -> int:
    """Write the masks of a split and, if no image was skipped, their archive; return the number of skipped images.

    Raises:
        UserError: the data set cannot be used, existing results would be lost, or a result cannot be written.
    """
    data = restored.data
    data.prepare_data()
    out = out or Path("outputs/submissions") / f"{data.title.lower()}-{split}"
    archive = out.with_name(f"{out.name}.zip")
    plan: dict[Path, Files] = {image: {"mask": out / data.submission_name(image)} for image in data.image_files(split)}
    config = plain(restored.config)
    origin = {
        "weights_sha256": weights_sha256(restored.predictor.network),
        "images": str(data.root.resolve()),
        **{key: config[key] for key in ("split", "inference", "dataset", "model")},
    }
    missing = open_submission(out, archive, plan, origin, overwrite=overwrite)
    summary = predict_images(restored, out, plan, missing, palette=False)
    if summary.skipped:
        print(printable(f"{archive}: not written, a submission needs every image"), file=sys.stderr)
    else:
        if not archive.exists():
            _write_archive(archive, out, [files["mask"] for files in plan.values()])
        print(printable(f"{out}: {len(plan)} masks, also in {archive}"))
    return len(summary.skipped)


def open_submission(
    folder: Path, archive: Path, plan: Mapping[Path, Files], origin: Plain, *, overwrite: bool
) -> dict[Path, Files]:
    """Record the origin of the masks in their folder, and return the images of the plan without masks.

    With `overwrite`, old files are deleted first, so that masks of two networks never lie side by side.

    Raises:
        UserError: the folder contains something else, or cannot be written.
    """
    record = folder / ORIGIN
    begun = record.is_file() and not overwrite
    before = read_record(record, Plain, "a file of ocnet-predict", _REMEDY) if begun else {}
    if begun and (changes := config_difference(before, origin)):
        raise UserError(f"{folder}: contains a submission of another origin ({'; '.join(changes)}); {_REMEDY}")
    missing = {image: files for image, files in plan.items() if not (begun and files["mask"].is_file())}
    if missing:
        replaced = [*(files["mask"] for files in missing.values()), archive]
        refuse_overwrite(replaced, plan, overwrite=overwrite)
        for path in replaced:
            path.unlink(missing_ok=True)
        with result_file(record) as file:
            file.write(json.dumps(origin, indent=1, allow_nan=False).encode())
    return missing


def _write_archive(path: Path, folder: Path, members: Sequence[Path]) -> None:
    """Write a zip of files, named relative to a folder."""
    with result_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # PNGs are compressed
        for member in members:
            archive.write(member, member.relative_to(folder))
