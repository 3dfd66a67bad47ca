"""`ocnet-predict`: a finished checkpoint on any picture, or on a test split as its server wants it."""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ocnet_pl.command.parsing import CommandParser, safe_output
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.escaping import printable

if TYPE_CHECKING:
    from ocnet_pl.record.identity import Plain
    from ocnet_pl.run.restoring import Restored
    from ocnet_pl.tools.predict.files import Files
    from ocnet_pl.tools.predict.prediction import Outcome

DESCRIPTION = """\
Predicts the class of every pixel, with the network, classes and test protocol of a checkpoint.

  PICTURES    files, folders (all images in them, at any depth) and quoted patterns. Below --out come
                masks/NAME.png          one 8-bit channel with the data set's palette, of the picture's size
                overlays/NAME.jpg       the picture under the classes' colours
                probabilities/NAME.npz  with --probabilities: (classes, height, width) float16, and the classes' names
              NAME is the picture's path below the deepest folder that holds all PICTURES. A file that cannot be read
              is skipped and named at the end; the exit code is then 1. The same command goes on where it was
              interrupted: masks name the network, protocol and image that they were made with.
  split=NAME  all images of a split, which needs no labels, for the data set's test server: PNGs under the names that
              it looks for, without palette, in the folder --out, and the same as --out.zip. The same command goes on
              where it was interrupted.

Masks hold the ids that the data set's own label files hold (Cityscapes: label ids, 7 is road; ADE20K: 1 to 150; a
folder of yours: its `ids`), so that they can be used wherever those can. Nothing that is there is replaced unless you
say --overwrite, and a picture never. One process; a GPU where there is one."""

EPILOG = """\
examples:
  ocnet-predict last.ckpt photo.jpg holidays/ 'clips/**/*.png'     see outputs/predictions/overlays
  ocnet-predict last.ckpt photo.jpg inference=multi_scale          or sliding, flip: slower, better
  ocnet-predict last.ckpt dataset=cityscapes split=test dataset.root=/data/cityscapes inference=multi_scale
                                                                   writes outputs/submissions/cityscapes-test.zip"""

_OVERRIDE = re.compile(r"[~+]{0,2}[\w./@]+=.*", re.DOTALL)


def main() -> None:
    """Entry point."""
    safe_output()
    parser = CommandParser(
        prog="ocnet-predict",
        usage="ocnet-predict CHECKPOINT (PICTURES... | split=NAME) [key=value ...] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="outputs/<name>/<row>/seed-<n>/checkpoints/last.ckpt")
    parser.add_argument(
        "words",
        nargs="*",
        metavar="PICTURES | key=value",
        help="pictures; split=; and overrides of what the checkpoint says: inference=, dataset=, dataset.root=, ...",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="default: outputs/predictions; of a split outputs/submissions/<data set>-<split>",
    )
    parser.add_argument(
        "--overlay", action=argparse.BooleanOptionalAction, help="draw pictures under their classes' colours (default)"
    )
    parser.add_argument("--probabilities", action="store_true", help="write them too; they are large")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU where there is one")
    arguments = parser.parse_intermixed_args()
    with one_line_errors("ocnet-predict"):
        skipped = _predict(arguments)
    if skipped:
        sys.exit(1)


def _predict(arguments: argparse.Namespace) -> int:
    """Does what was asked for, and returns how many pictures were skipped."""
    checkpoint = Path(arguments.checkpoint.removeprefix("checkpoint="))
    overrides = [word for word in arguments.words if _OVERRIDE.fullmatch(word) and not Path(word).exists()]
    words = [word for word in arguments.words if word not in overrides]
    split = dict(override.split("=", 1) for override in overrides).get("split")
    if bool(words) == bool(split):
        raise UserError("what is to be predicted? give pictures, or split=NAME for the files of a test server")
    if not checkpoint.is_file():  # before the pictures are looked for, and the seconds that torch takes to load
        raise UserError(f"{checkpoint}: no such file; runs keep theirs in <run>/checkpoints/last.ckpt")
    if split and (arguments.overlay or arguments.probabilities):
        raise UserError("--overlay and --probabilities are for pictures; a test server takes neither")
    if words:
        return _pictures(checkpoint, words, overrides, arguments)
    assert split is not None
    return _submission(checkpoint, split, overrides, arguments)


def _pictures(checkpoint: Path, words: list[str], overrides: list[str], arguments: argparse.Namespace) -> int:
    import numpy as np

    from ocnet_pl.config.compose import plain
    from ocnet_pl.record.identity import config_hash
    from ocnet_pl.run.provenance import weights_sha256
    from ocnet_pl.tools.predict.files import files_of
    from ocnet_pl.tools.predict.pictures import find_pictures
    from ocnet_pl.tools.predict.printing import print_classes
    from ocnet_pl.tools.predict.submission import mask_of, missing_predictions

    out = arguments.out or Path("outputs/predictions")
    overlay = arguments.overlay is not False
    plan = {
        picture: files_of(out, name, overlay=overlay, probabilities=arguments.probabilities)
        for picture, name in find_pictures(words, out).items()
    }
    restored = _restored(checkpoint, overrides, arguments.device)
    data = restored.data
    made_with: Plain = {
        "weights": weights_sha256(restored.predictor.network)[:16],
        "inference": plain(restored.config)["inference"],
        "dataset": config_hash({"dataset": plain(restored.config)["dataset"]}),
    }
    missing = missing_predictions(plan, made_with, overwrite=arguments.overwrite)
    if len(missing) < len(plan):
        there = len(plan) - len(missing)
        print(printable(f"{out}: {there} of {len(plan)} images are predicted already"), file=sys.stderr)
    outcome = _run(restored, missing, in_colour=True, origin=lambda image: mask_of(image, made_with))
    if done := len(missing) - len(outcome.skipped):
        results = [path for files in plan.values() for path in files.values()]
        kinds = ", ".join(sorted({path.relative_to(out).parts[0] for path in results}))
        title = f"{out}: {kinds} for {done} of {len(plan)} pictures"
        stored = data.encode(np.arange(len(data.classes), dtype=np.uint8)).tolist()
        print_classes(title, data.classes, stored, data.palette, outcome.pixels)
    return _tell_skipped(outcome, len(plan))


def _submission(checkpoint: Path, split: str, overrides: list[str], arguments: argparse.Namespace) -> int:
    from ocnet_pl.config.compose import plain
    from ocnet_pl.run.provenance import weights_sha256
    from ocnet_pl.tools.predict.files import write_archive
    from ocnet_pl.tools.predict.submission import open_submission

    restored = _restored(checkpoint, overrides, arguments.device)
    data = restored.data
    data.prepare_data()
    out = arguments.out or Path("outputs/submissions") / f"{data.title.lower()}-{split}"
    archive = out.with_name(f"{out.name}.zip")
    plan: dict[Path, Files] = {image: {"mask": out / data.submission_name(image)} for image in data.image_files(split)}
    origin = {
        "weights_sha256": weights_sha256(restored.predictor.network),
        "images": str(data.root.resolve()),
        **{key: plain(restored.config)[key] for key in ("split", "inference", "dataset", "model")},
    }
    missing = open_submission(out, archive, plan, origin, overwrite=arguments.overwrite)
    if len(missing) < len(plan):
        there = len(plan) - len(missing)
        print(printable(f"{out}: {there} of {len(plan)} masks are there already"), file=sys.stderr)
    outcome = _run(restored, missing, in_colour=False)
    if outcome.skipped:
        print(printable(f"{archive}: not written, a submission needs every image"), file=sys.stderr)
    else:
        if not archive.exists():
            write_archive(archive, out, [files["mask"] for files in plan.values()])
        print(printable(f"{len(plan)} masks in {out}, and the same in {archive}"))
    return _tell_skipped(outcome, len(plan))


def _restored(checkpoint: Path, overrides: list[str], device: str | None) -> "Restored":
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.run.restoring import restore

    return restore(checkpoint, overrides, device=choose_device(device))


def _run(
    restored: "Restored",
    plan: "Mapping[Path, Files]",
    *,
    in_colour: bool,
    origin: "Callable[[Path], Plain] | None" = None,
) -> "Outcome":
    from ocnet_pl.drawing.progress import progress_of
    from ocnet_pl.tools.predict.prediction import predict_pictures

    with progress_of("predicting", len(plan)) as advance:
        return predict_pictures(restored.predictor, restored.data, plan, advance, in_colour=in_colour, origin=origin)


def _tell_skipped(outcome: "Outcome", total: int) -> int:
    if outcome.skipped:
        print(f"ocnet-predict: {len(outcome.skipped)} of {total} images skipped:", file=sys.stderr)
        for message in outcome.skipped:
            print(f"  {printable(message)}", file=sys.stderr)
    return len(outcome.skipped)


if __name__ == "__main__":
    main()
