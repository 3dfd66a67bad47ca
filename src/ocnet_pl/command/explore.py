"""`ocnet-explore`: show and measure the attention of trained networks."""

import argparse
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ocnet_pl.atomic import refuse_unwritable
from ocnet_pl.command.parsing import (
    CHECKPOINT,
    add_device,
    console_script,
    parser_of_commands,
    require_checkpoints,
    whole_number,
)
from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.hub import local_file

if TYPE_CHECKING:
    from ocnet_pl.tools.explore.opening import OpenedCheckpoint

DESCRIPTION = """\
Shows and measures the object context of trained networks: the weight that the attention gives to every other pixel,
for a chosen pixel. It works for every head with attention, e.g. base_oc, pyramid_oc and asp_oc."""

EPILOG = """\
examples:
  ocnet-explore figure outputs/demo/base_oc/seed-0/checkpoints/last.ckpt       writes outputs/context.png
  ocnet-explore figure outputs/demo/{base,asp}_oc/seed-0/checkpoints/last.ckpt --image street.jpg --points 120,80 30,20
  ocnet-explore measure outputs/demo/*/seed-*/checkpoints/last.ckpt            ocnet-report then shows the results
  ocnet-explore serve outputs/demo/*_oc/seed-0/checkpoints/last.ckpt           web page; the map follows the cursor

ocnet-explore COMMAND --help describes each command."""

MEASURE = """\
Measures the share of a pixel's attention that falls on pixels of its own class, next to the share of uniform
attention; also the entropy of the weights and their mean distance. From every image of the split it draws the same
number of pixels of each class in the image. All numbers are means over images, the first with a 95 % interval. Ignored
pixels are not drawn, and weight on them counts neither for nor against.

Prints a table and writes it next to the run's result.json, e.g. context-last-val.json for last.ckpt on val. A saved
measure is not repeated; it is replaced when the weights have changed or more pixels are requested. If there are
several checkpoints, those of heads without attention are skipped."""

SERVE = """\
Opens a web page on this machine, http://127.0.0.1:PORT. It shows the attention of the pixel under the cursor and the
predicted class. Head, checkpoint, map and image are chosen on the page. You can upload images; those larger than 2048
pixels are shrunk. Nothing leaves the machine. Needs: pip install 'ocnet_pl[explore]'"""

FIGURE = """\
Draws the image, its truth and the predictions, and a row of attention maps for every pixel. Each map is scaled from 0
to its own maximum, which is given below it relative to uniform attention, so brightness cannot be compared between
maps. If the truth is known, each map also shows the share of its weight on the pixel's own class, next to the share
of uniform attention."""

_IMAGES = 6


def main() -> None:
    """Entry point."""
    with console_script("ocnet-explore"):
        arguments = _parser().parse_args()
        arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser, add = parser_of_commands("ocnet-explore", DESCRIPTION, EPILOG)

    def command(run: Callable[[argparse.Namespace], None], summary: str, text: str) -> Callable[..., argparse.Action]:
        added = add(run, summary, text)
        added.add_argument("checkpoints", nargs="+", type=local_file, metavar="CHECKPOINT", help=CHECKPOINT)
        added.add_argument(
            "--root", type=Path, metavar="DIR", help="folder of the data set (default: as in the training)"
        )
        add_device(added)
        return added.add_argument

    option = command(_figure, "draw the maps of some pixels for one or more networks", FIGURE)
    file, number = partial(option, type=Path, metavar="FILE"), "default: %(default)s"
    file("--image", help="a photograph (default: the first image of the validation split)")
    file("--label", help="label of the image, in the data set's format (default: from the data set)")
    option(
        "--points",
        nargs="+",
        type=_point,
        default=[],
        metavar="X,Y",
        help="pixels, counted from 0 at the top left (default: one in every large class)",
    )
    file("--out", default=Path("outputs/context.png"), help=".png, .pdf or .svg (default: %(default)s)")

    option = command(_measure, "measure the share of attention on a pixel's own class", MEASURE)
    count = partial(option, type=whole_number, metavar="N")
    option("--split", metavar="NAME", help="default: the validation split of the training")
    count("--images", help="number of images from the start of the split (default: all)")
    count("--pixels", default=10, help=f"pixels of each class in each image ({number})")
    option("--seed", type=int, default=0, metavar="N", help=f"seed of the choice of pixels ({number})")

    option = command(_serve, "open a web page that shows the map of the pixel under the cursor", SERVE)
    option(
        "--image",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="photographs (default: the first six images of the validation split)",
    )
    option("--port", type=whole_number, default=7860, metavar="N", help=number)
    return parser


def _point(text: str) -> tuple[int, int]:
    x, comma, y = text.partition(",")
    if comma and x.isdecimal() and y.isdecimal():
        return int(x), int(y)
    raise argparse.ArgumentTypeError(f"{text}: expected X,Y, e.g. 120,80")


def _open(arguments: argparse.Namespace) -> "list[OpenedCheckpoint]":
    require_checkpoints(*arguments.checkpoints)
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.tools.explore.opening import open_checkpoint

    device = choose_device(arguments.device)
    return [open_checkpoint(path, device, arguments.root, attending=True) for path in arguments.checkpoints]


def _measure(arguments: argparse.Namespace) -> None:
    require_checkpoints(*arguments.checkpoints)
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.tools.explore.measures import measure_checkpoints

    options = {name: getattr(arguments, name) for name in ("split", "images", "pixels", "seed")}
    measure_checkpoints(arguments.checkpoints, choose_device(arguments.device), arguments.root, **options)


def _figure(arguments: argparse.Namespace) -> None:
    from ocnet_pl.tools.explore.context_figure import context_figure, refuse_other_formats, save_figure

    refuse_other_formats(arguments.out)
    require_checkpoints(*arguments.checkpoints)
    refuse_unwritable(arguments.out)
    checkpoints = _open(arguments)
    from ocnet_pl.tools.explore.context_maps import context_maps
    from ocnet_pl.tools.explore.opening import find_truth, first_images

    data = checkpoints[0].data
    image = arguments.image or first_images(data, 1)[0]
    maps = context_maps(checkpoints, image, find_truth(data, image, arguments.label), arguments.points)
    save_figure(context_figure(maps), arguments.out)
    print(f"wrote {printable(str(arguments.out))}")


def _serve(arguments: argparse.Namespace) -> None:
    if missing := [name for name in ("starlette", "uvicorn") if find_spec(name) is None]:
        raise UserError(f"serve needs {' and '.join(missing)}: pip install 'ocnet_pl[explore]'")
    checkpoints = _open(arguments)
    from ocnet_pl.tools.explore.opening import first_images
    from ocnet_pl.tools.explore.server import HOST, serve
    from ocnet_pl.tools.explore.viewer import Viewer

    viewer = Viewer(checkpoints, arguments.image or first_images(checkpoints[0].data, _IMAGES))
    serve(viewer, arguments.port, lambda: print(f"open http://{HOST}:{arguments.port} (Ctrl-C to stop)", flush=True))


if __name__ == "__main__":
    main()
