"""`ocnet-predict`: predict any images, or a test split in the format of its server."""

import argparse
import re
import sys
from pathlib import Path

from ocnet_pl.command.parsing import CHECKPOINT, CommandParser, add_device, console_script, require_checkpoints
from ocnet_pl.errors import UserError
from ocnet_pl.hub import local_file

DESCRIPTION = """\
Predicts the class of every pixel with the network, classes and test protocol of a checkpoint.

  IMAGES      files, folders (all images in them, at any depth) and quoted patterns. The results go to --out:
                masks/NAME.png          one 8-bit channel of the image's size, with the data set's palette
                overlays/NAME.jpg       the image under the colours of its classes
                probabilities/NAME.npz  with --probabilities: (classes, height, width) float16, and class names
              NAME is the image's path below the deepest folder that contains all IMAGES. Files that cannot be read
              are skipped and listed at the end; the exit code is then 1. Rerun an interrupted command to continue:
              every mask records the network, protocol and image that it was made with.
  split=NAME  all images of a split, as files for the data set's test server. Labels are not needed. PNGs without
              palette, named as the server expects, go to the folder --out, and the same files to --out.zip. Rerun an
              interrupted command to continue.

Masks hold the ids of the data set's own label files (Cityscapes: label ids, 7 is road; ADE20K: 1 to 150; your own
folder: its `ids`). Existing files are kept unless --overwrite is given; input images are never overwritten."""

EPILOG = """\
examples:
  ocnet-predict last.ckpt photo.jpg holidays/ 'clips/**/*.png'     writes to outputs/predictions
  ocnet-predict last.ckpt photo.jpg inference=multi_scale          slower and better; also: sliding, flip
  ocnet-predict last.ckpt dataset=cityscapes split=test dataset.root=/data/cityscapes inference=multi_scale
                                                                   writes outputs/submissions/cityscapes-test.zip"""

_OVERRIDE = re.compile(r"[~+]{0,2}[\w./@]+=.*", re.DOTALL)


def main() -> None:
    """Entry point."""
    with console_script("ocnet-predict"):
        skipped = _predict(_parser().parse_intermixed_args())
    if skipped:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="ocnet-predict",
        usage="ocnet-predict CHECKPOINT (IMAGES... | split=NAME) [key=value ...] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=CHECKPOINT)
    parser.add_argument(
        "words",
        nargs="*",
        metavar="IMAGES | key=value",
        help="images; split=; and overrides of the checkpoint's settings: inference=, dataset=, dataset.root=, ...",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="default: outputs/predictions; for a split outputs/submissions/<data set>-<split>",
    )
    parser.add_argument(
        "--overlay", action=argparse.BooleanOptionalAction, help="write images under their classes' colours (default)"
    )
    parser.add_argument("--probabilities", action="store_true", help="write probabilities too; the files are large")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    add_device(parser)
    return parser


def _predict(arguments: argparse.Namespace) -> int:
    """Return the number of skipped images."""
    overrides = [word for word in arguments.words if _OVERRIDE.fullmatch(word) and not Path(word).exists()]
    images = [word for word in arguments.words if word not in overrides]
    split = dict(override.split("=", 1) for override in overrides).get("split")
    if bool(images) == bool(split):
        raise UserError("give either images (files, folders, patterns), or split=NAME for the files of a test server")
    checkpoint = local_file(arguments.checkpoint.removeprefix("checkpoint="))
    require_checkpoints(checkpoint)
    if split and (arguments.overlay or arguments.probabilities):
        raise UserError("--overlay and --probabilities are for images; a test server takes neither")
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.run.restoring import restore
    from ocnet_pl.tools.predict.images import find_images
    from ocnet_pl.tools.predict.photographs import predict_photographs
    from ocnet_pl.tools.predict.submission import predict_split

    out = arguments.out or Path("outputs/predictions")
    names = find_images(images, out) if images else {}  # before the checkpoint is opened
    restored = restore(checkpoint, overrides, device=choose_device(arguments.device))
    if split:
        return predict_split(restored, split, arguments.out, overwrite=arguments.overwrite)
    return predict_photographs(
        restored,
        names,
        out,
        overlay=arguments.overlay is not False,
        probabilities=arguments.probabilities,
        overwrite=arguments.overwrite,
    )


if __name__ == "__main__":
    main()
