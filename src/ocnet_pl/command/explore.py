"""`ocnet-explore`: what the attention of a trained network looks at."""

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ocnet_pl.atomic import refuse_unwritable
from ocnet_pl.command.parsing import parser_of_commands, safe_output, whole_number
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.escaping import printable

if TYPE_CHECKING:
    from ocnet_pl.tools.explore.opening import Explored

DESCRIPTION = """\
Shows and measures the object context of trained networks: for a pixel, the weights that the attention gives to every
other pixel. The heads that have it are base_oc, pyramid_oc, asp_oc and asp_oc_2019."""

EPILOG = """\
examples:
  ocnet-explore figure outputs/demo/base_oc/seed-0/checkpoints/last.ckpt       writes outputs/context.png
  ocnet-explore figure outputs/demo/{base,asp}_oc/seed-0/checkpoints/last.ckpt --image street.jpg --points 120,80 30,20
  ocnet-explore measure outputs/demo/*/seed-*/checkpoints/last.ckpt            ... then ocnet-report shows it
  ocnet-explore serve outputs/demo/*_oc/seed-0/checkpoints/last.ckpt           a page; the map under the cursor

ocnet-explore COMMAND --help says more of each."""

MEASURE = """\
Measures how much of a pixel's weight falls on pixels of its own class, beside what equal weights would give; also how
spread the weights are (entropy) and how far they reach (distance). In every image of the split it draws the same number
of pixels from each class that is there; every number is a mean over images, with a 95 % interval where it matters.
Pixels that the data set ignores are not asked about, and weight that falls on them counts neither for nor against.

Prints a table and writes it beside the run's result.json, as context-last-val.json for last.ckpt on val. What is there
already is not measured again; it is replaced when the weights are others, or when more pixels are asked for. Among
several checkpoints those of heads without attention are skipped."""

SERVE = """\
Opens a page on this machine, http://127.0.0.1:PORT. Move over an image and see what the network looks at from there,
and what it takes the pixel for. Head, checkpoint, map and image are chosen on the page, pictures of your own are added
there; larger ones than 2048 pixels are shrunk. Nothing leaves the machine. Needs: pip install 'ocnet_pl[explore]'"""

FIGURE = """\
Draws the image, its truth and the predictions, and below them a row for every pixel: where it is, and for every
network the map of what it looks at. Every map goes from 0 to its own greatest weight, which stands below it in
multiples of equal weights: brightness compares places in one map, not one map with another. Where the truth is known,
each map also says what share of it falls on the pixel's own class, and what equal weights would give."""

_IMAGES = 6


def main() -> None:
    """Entry point."""
    safe_output()
    with one_line_errors("ocnet-explore"):
        arguments = _parser().parse_args()
        arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser, add = parser_of_commands("ocnet-explore", DESCRIPTION, EPILOG)

    def command(run: Callable[[argparse.Namespace], None], summary: str, description: str) -> argparse.ArgumentParser:
        one = add(run, summary, description)
        one.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="files of ocnet-train")
        one.add_argument(
            "--root", type=Path, metavar="DIR", help="of the data set, where it is not where it was in training"
        )
        one.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU where there is one")
        return one

    figure = command(_figure, "draw the maps of some pixels, several networks side by side", FIGURE)
    figure.add_argument(
        "--image", type=Path, metavar="FILE", help="a photograph (default: the first of the validation set)"
    )
    figure.add_argument(
        "--label",
        type=Path,
        metavar="FILE",
        help="its label, as the data set stores them (default: the data set's own)",
    )
    figure.add_argument(
        "--points",
        nargs="+",
        type=_point,
        default=[],
        metavar="X,Y",
        help="pixels, x from the left and y from the top, from 0 (default: one in every large class)",
    )
    figure.add_argument(
        "--out",
        type=Path,
        default=Path("outputs/context.png"),
        metavar="FILE",
        help=".png, .pdf or .svg (default: %(default)s)",
    )
    measure = command(_measure, "measure how much of the weight falls on a pixel's own class", MEASURE)
    measure.add_argument("--split", metavar="NAME", help="default: the validation split of the training")
    measure.add_argument("--images", type=whole_number, metavar="N", help="the first N only (default: all)")
    measure.add_argument(
        "--pixels",
        type=whole_number,
        default=10,
        metavar="N",
        help="of each class in each image (default: %(default)s)",
    )
    measure.add_argument("--seed", type=int, default=0, metavar="N", help="of their draw (default: %(default)s)")
    serve = command(_serve, "open a page on this machine that shows the map under the cursor", SERVE)
    serve.add_argument(
        "--image",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="photographs (default: the first six of the validation set)",
    )
    serve.add_argument("--port", type=whole_number, default=7860, metavar="N", help="default: %(default)s")
    return parser


def _point(text: str) -> tuple[int, int]:
    x, comma, y = text.partition(",")
    if comma and x.isdecimal() and y.isdecimal():
        return int(x), int(y)
    raise argparse.ArgumentTypeError(f"{text!r}: x,y is expected, for example 120,80")


def _refuse_missing(checkpoints: list[Path]) -> None:
    """Before seconds of imports."""
    if missing := next((path for path in checkpoints if not path.is_file()), None):
        raise UserError(f"{missing}: no such file; runs keep their checkpoints in <run>/checkpoints/last.ckpt")


def _open(arguments: argparse.Namespace) -> "list[Explored]":
    _refuse_missing(arguments.checkpoints)
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.tools.explore.opening import open_checkpoint

    device = choose_device(arguments.device)
    return [open_checkpoint(path, device, arguments.root) for path in arguments.checkpoints]


def _measure(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    _refuse_missing(arguments.checkpoints)
    from ocnet_pl.drawing.progress import progress_of
    from ocnet_pl.model.object_context import NoAttentionError
    from ocnet_pl.report.terminal import plain
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.tools.explore.measure_checkpoint import keep_measure, kept_measure, measure, setting_for
    from ocnet_pl.tools.explore.opening import open_checkpoint
    from ocnet_pl.tools.explore.printing import LEGEND, print_context

    console, device = Console(), choose_device(arguments.device)
    for path in arguments.checkpoints:
        try:
            one = open_checkpoint(path, device, arguments.root)
        except NoAttentionError as error:
            if len(arguments.checkpoints) == 1:
                raise
            console.print(plain(f"skipped: {error}"), highlight=False, soft_wrap=True)
            continue
        setting = setting_for(one, arguments.split, arguments.images, arguments.pixels, arguments.seed)
        found, note = kept_measure(one, setting), "this was measured before"
        if found is None:
            with progress_of(one.row, setting.images) as advance:
                found = measure(one, setting, advance)
            note = keep_measure(one, found)
        print_context(str(path), found, console)
        console.print(plain(note), highlight=False, soft_wrap=True)
    console.print(LEGEND, style="dim", highlight=False)


def _figure(arguments: argparse.Namespace) -> None:
    from ocnet_pl.tools.explore.context_figure import context_figure, refuse_other_formats, save_figure

    refuse_other_formats(arguments.out)
    _refuse_missing(arguments.checkpoints)
    refuse_unwritable(arguments.out)
    explored = _open(arguments)
    from ocnet_pl.tools.explore.picture import context_picture, find_truth, first_images

    image = arguments.image or first_images(explored[0].data, 1)[0]
    truth = find_truth(explored[0].data, image, arguments.label)
    save_figure(context_figure(context_picture(explored, image, truth, arguments.points)), arguments.out)
    print(f"wrote {printable(str(arguments.out))}")


def _serve(arguments: argparse.Namespace) -> None:
    _refuse_missing_extra()
    explored = _open(arguments)
    from ocnet_pl.tools.explore.picture import first_images
    from ocnet_pl.tools.explore.server import HOST, serve
    from ocnet_pl.tools.explore.viewer import Viewer

    viewer = Viewer(explored, arguments.image or first_images(explored[0].data, _IMAGES))
    serve(viewer, arguments.port, lambda: print(f"open http://{HOST}:{arguments.port} (Ctrl-C ends it)", flush=True))


def _refuse_missing_extra() -> None:
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise UserError(f"serve needs {' and '.join(missing)}: pip install 'ocnet_pl[explore]'")


if __name__ == "__main__":
    main()
