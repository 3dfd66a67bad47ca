"""`ocnet-data`: a data set looked at before the first GPU hour."""

import argparse
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ocnet_pl.command.parsing import parser_of_commands, safe_output, whole_number
from ocnet_pl.errors import UserError, one_line_errors

if TYPE_CHECKING:
    from ocnet_pl.dataset.data_module import SegmentationDataModule

DESCRIPTION = """\
Looks at a data set before the first GPU hour. Choose it with the key=value overrides of ocnet-train."""

EPILOG = """\
examples:
  ocnet-data check dataset=cityscapes dataset.root=/data/cityscapes       a table, and every file that is wrong
  ocnet-data check dataset=lip dataset.root=/data/lip --json > lip.json   the same for machines; exit code 1 if unsound
  ocnet-data show dataset=ade20k dataset.root=/data/ADEChallengeData2016  writes outputs/show.png
  ocnet-data weights dataset=folder dataset.root=DIR 'dataset.classes=[sky,sea]'

ocnet-data COMMAND --help says more of each."""

CHECK = """\
Reads every image and label of every split that is there, by all cores, and says
  how many there are, beside the published number; sizes, modes, classes and the share of ignored pixels;
  which files are missing, empty, damaged, of another format, of two sizes, or hold ids outside the data set's table;
  which files decoders misread (16-bit, several pages, lossy labels), or viewers turn (EXIF orientation);
  which images stand in two splits (by content); whether left and right parts lie where they should.

Exit code 0: a training can start. 1: it would break, or its scores would be worth nothing; every bad file is named.
2: the command line is wrong. A number of images other than the published one is a note, no error."""

SHOW = """\
Draws the first samples of a training as the network gets them, scaled, cut, mirrored and augmented: each beside itself
under the colours of its label, with a legend. Other samples: seed=N."""

WEIGHTS = """\
Counts the labelled pixels of each class in the training split and computes the weights of the loss in the form that the
authors computed theirs for Cityscapes. Prints them as YAML, and as an override for the command line."""


def main() -> None:
    """Entry point."""
    safe_output()
    parser = _parser()
    arguments, more = parser.parse_known_args()  # overrides may also stand behind options
    if options := [word for word in more if word.startswith("-")]:
        parser.error(f"no such option: {' '.join(options)}")
    arguments.overrides += more
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need be neither UTF-8 nor of the terminal
    with one_line_errors("ocnet-data"):
        arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser, add = parser_of_commands("ocnet-data", DESCRIPTION, EPILOG)

    def command(run: Callable[[argparse.Namespace], None], summary: str, description: str) -> argparse.ArgumentParser:
        one = add(run, summary, description)
        one.add_argument("overrides", nargs="*", metavar="key=value", help="dataset=NAME dataset.root=DIR, ...")
        return one

    check = command(_check, "read every file, and say what is wrong with which", CHECK)
    check.add_argument("--json", action="store_true", help="print everything as JSON to stdout, and no table")
    _add_workers(check)
    show = command(_show, "draw what the network gets, labels in colour", SHOW)
    show.add_argument("--count", type=whole_number, default=12, metavar="N", help="samples (default: %(default)s)")
    show.add_argument(
        "--out", type=Path, default=Path("outputs/show.png"), metavar="FILE", help="PNG (default: %(default)s)"
    )
    _add_workers(command(_weights, "compute class weights of the loss from the training labels", WEIGHTS))
    return parser


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=whole_number, metavar="N", help="processes (default: all cores)")


def _data(overrides: list[str]) -> "SegmentationDataModule":
    from ocnet_pl.config.compose import compose
    from ocnet_pl.config.validate import validate

    config = compose(*overrides)
    validate(config, overrides)
    from ocnet_pl.build import build_data

    data = build_data(config)
    data.prepare_data()
    return data


def _check(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    data = _data(arguments.overrides)
    from ocnet_pl.drawing.progress import progress_of
    from ocnet_pl.process import all_cores
    from ocnet_pl.tools.data_check.check import check
    from ocnet_pl.tools.data_check.printing import print_report
    from ocnet_pl.tools.data_check.report import as_json

    with progress_of("reading") as advance:
        report = check(data, arguments.workers or all_cores(), advance)
    if arguments.json:
        print(json.dumps(as_json(report), indent=1))
    else:
        print_report(report, Console())
    if not report.sound:
        sys.exit(1)


def _show(arguments: argparse.Namespace) -> None:
    data = _data(arguments.overrides)
    from ocnet_pl.tools.data_check.contact_sheet import contact_sheet
    from ocnet_pl.tools.data_check.preview import training_tiles

    tiles, legend = training_tiles(data, arguments.count)
    title = f"{data.title}, {data.train_split}, seed {data.seed}: the first {len(tiles)} samples"
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(title, tiles, legend).save(arguments.out, "PNG")
    except OSError as error:
        raise UserError(f"--out {arguments.out}: cannot be written ({error.strerror}); give another file") from error
    print(f"wrote {arguments.out}")


def _weights(arguments: argparse.Namespace) -> None:
    data = _data(arguments.overrides)
    from ocnet_pl.drawing.progress import progress_of
    from ocnet_pl.process import all_cores
    from ocnet_pl.tools.data_check.class_weights import FORMULA, SOURCE, log_weights, training_pixels

    with progress_of("counting") as advance:
        pixels = training_pixels(data, arguments.workers or all_cores(), advance)
    weights = [f"{weight:.4f}" for weight in log_weights(pixels)]
    print(f"# {data.title}, {data.train_split}: {FORMULA}")
    print(f"# {SOURCE}")
    if absent := [name for name, count in zip(data.classes, pixels, strict=True) if not count]:
        print(f"# no pixel of {', '.join(absent)}: their weight has no effect")
    print("class_weights:")
    for name, count, weight in zip(data.classes, pixels, weights, strict=True):
        print(f"  - {weight}  # {name}, {count:,} pixels")
    print("# on the command line:")
    print(f"# 'dataset.class_weights=[{','.join(weights)}]'")


if __name__ == "__main__":
    main()
