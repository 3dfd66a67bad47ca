"""`ocnet-data`: check and preview a data set before training."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ocnet_pl.command.parsing import parser_of_commands, safe_output, whole_number
from ocnet_pl.errors import UserError, one_line_errors, readable_os_errors

if TYPE_CHECKING:
    from ocnet_pl.dataset.data_module import SegmentationDataModule

DESCRIPTION = """\
Checks and previews a data set before training. Choose it with the same key=value overrides as ocnet-train."""

EPILOG = """\
examples:
  ocnet-data check dataset=cityscapes dataset.root=/data/cityscapes       prints a table and every invalid file
  ocnet-data check dataset=lip dataset.root=/data/lip --json > lip.json   machine-readable; exit code 1 on errors
  ocnet-data show dataset=ade20k dataset.root=/data/ADEChallengeData2016  writes outputs/show.png
  ocnet-data benchmark dataset=cityscapes dataset.root=/data/cityscapes   samples per second, and workers for a GPU
  ocnet-data weights dataset=folder dataset.root=DIR 'dataset.classes=[sky,sea]'

ocnet-data COMMAND --help describes each command."""

CHECK = """\
Reads every image and label of every existing split, on all cores, and reports
  the found and the expected number of images; sizes, modes, classes and the share of ignored pixels;
  files that are missing, empty, damaged, of another format or size, or contain ids outside the data set's table;
  files that decoders misread (16-bit, several pages, lossy labels) or that viewers rotate (EXIF orientation);
  images in two splits (by content); whether left and right parts lie where they should;
  targets beside the label (depth, keypoints) that cannot be read or do not fit their image; and keypoints that are
  missing, lie outside their image, or have left and right exchanged.

Exit code 0: ready for training. 1: training would fail, or its scores would be worthless; every invalid file is
listed. 2: invalid command line. An unexpected number of images is a note, not an error."""

SHOW = """\
Draws the first training samples as the network gets them (scaled, cropped, mirrored, augmented): the input with its
keypoints and limbs, the label over the input, and other masks, with a legend. Other samples: seed=N."""

WEIGHTS = """\
Counts the labelled pixels of each class in the training split and computes class weights of the loss with the formula
of the OCNet authors. Prints them as YAML and as an override."""


BENCHMARK = """\
Measures the training samples per second of one loader worker, and counts the operations of a training step with each
head. Prints how many images per second a GPU of each kind trains on, and how many workers load them. Other settings of
data and network: dataset.cache=DIR, model/backbone=NAME, ..."""


def main() -> None:
    """Entry point."""
    safe_output()
    parser = _parser()
    arguments, more = parser.parse_known_args()  # overrides may also follow options
    if options := [word for word in more if word.startswith("-")]:
        parser.error(f"no such option: {' '.join(options)}")
    arguments.overrides += more
    with one_line_errors("ocnet-data"):
        arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser, add = parser_of_commands("ocnet-data", DESCRIPTION, EPILOG)

    def command(run: Callable[[argparse.Namespace], None], summary: str, description: str) -> argparse.ArgumentParser:
        subparser = add(run, summary, description)
        subparser.add_argument("overrides", nargs="*", metavar="key=value", help="dataset=NAME dataset.root=DIR, ...")
        return subparser

    check = command(_check, "read every file and report invalid ones", CHECK)
    check.add_argument("--json", action="store_true", help="print machine-readable JSON to stdout instead of tables")
    _add_workers(check)
    show = command(_show, "draw training samples as the network gets them", SHOW)
    show.add_argument("--count", type=whole_number, default=12, metavar="N", help="samples (default: %(default)s)")
    show.add_argument(
        "--out", type=Path, default=Path("outputs/show.png"), metavar="FILE", help="PNG (default: %(default)s)"
    )
    benchmark = command(_benchmark, "measure loading, and count the workers that a GPU needs", BENCHMARK)
    benchmark.add_argument(
        "--heads", nargs="+", metavar="HEAD", help="options of model/head (default: those of Table 1)"
    )
    benchmark.add_argument(
        "--gpus", nargs="+", metavar="GPU", help="v100, a100, h100, h200 or rtx4090 (default: v100 a100 h100)"
    )
    benchmark.add_argument(
        "--samples", type=whole_number, default=64, metavar="N", help="samples to measure (default: %(default)s)"
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
    from ocnet_pl.tools.data_check.preview import preview, sample_pictures

    samples, legend = sample_pictures(data, arguments.count)
    title = f"{data.title}, {data.train_split}, seed {data.seed}: the first {len(samples)} samples"
    with readable_os_errors(arguments.out):
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        preview(title, samples, legend).savefig(arguments.out, format="png", dpi=130)
    print(f"wrote {arguments.out}")


def _benchmark(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    data = _data(arguments.overrides)
    from ocnet_pl.drawing.progress import progress_of
    from ocnet_pl.tools.cost.demand import PEAKS, TABLE1, demand
    from ocnet_pl.tools.cost.loading import loading_speed, print_loading

    gpus = arguments.gpus or ["v100", "a100", "h100"]
    if unknown := [gpu for gpu in gpus if gpu not in PEAKS]:
        raise UserError(f"--gpus {unknown[0]}: unknown kind of GPU; choose of {', '.join(PEAKS)}")
    with progress_of("loading") as advance:
        speed = loading_speed(data, arguments.samples, advance)
    heads = arguments.heads or TABLE1
    with progress_of("counting operations", len(heads)) as advance:
        demands = []
        for head in heads:
            demands.append(demand(head, data, speed.size, arguments.overrides))
            advance(1, len(heads))
    print_loading(f"{data.title}, {data.train_split}", speed, demands, gpus, Console())


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
        print(f"# no pixels of {', '.join(absent)}: their weights have no effect")
    print("class_weights:")
    for name, count, weight in zip(data.classes, pixels, weights, strict=True):
        print(f"  - {weight}  # {name}, {count:,} pixels")
    print("# on the command line:")
    print(f"# 'dataset.class_weights=[{','.join(weights)}]'")


if __name__ == "__main__":
    main()
