"""`ocnet-convert`: a checkpoint of the OCNet authors as one of ours."""

import argparse
import shlex
from pathlib import Path

from ocnet_pl.command.parsing import CommandParser, safe_output
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.tools.convert.naming import INPUTS, LAYOUTS

DESCRIPTION = """\
Reads a file that the OCNet authors' code has written (PyTorch 0.4, weights only) and writes it as one of ours.

  --head NAME  a whole network: OUT is a checkpoint that carries its config, predicts what theirs predicts, and goes
               where ours go: ocnet-evaluate checkpoint=OUT, ocnet_pl.load("OUT").
  --backbone   the ImageNet network that they start from (resnet101-imagenet.pth): OUT is for
               model.backbone.weights=OUT in a training of yours; which overrides it needs is printed.

Depth (ResNet-101 or 50) and number of classes are read off the file. A file that holds another network, or not all of
one, is refused with the names that are missing or too many. OUT is never overwritten."""

EPILOG = f"""\
what the network was fed cannot be read off a file:
{chr(10).join(f"  --input {name:4} {given.words}" for name, given in INPUTS.items())}

examples:
  ocnet-convert CS_scenes_40000.pth --head asp_oc_2019 --input oc asp_oc_2019.ckpt
  ocnet-evaluate checkpoint=asp_oc_2019.ckpt dataset.root=/data/cityscapes
  ocnet-convert resnet101-imagenet.pth --backbone resnet101s.pth
  ocnet-convert small_gpu.pth --head base_oc base_oc.ckpt model.head.downsample=2"""


def main() -> None:
    """Entry point."""
    safe_output()
    parser = CommandParser(
        prog="ocnet-convert",
        usage="ocnet-convert FILE.pth (--head NAME OUT.ckpt | --backbone OUT.pth) [--input NAME] [--dataset NAME] "
        "[key=value ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="theirs")
    parser.add_argument("out", type=Path, metavar="OUT", help="ours")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="what a file does not tell: model.head.downsample=2"
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--head", choices=LAYOUTS, help="of the whole network in FILE: %(choices)s", metavar="NAME")
    kind.add_argument("--backbone", action="store_true", help="FILE is the ImageNet network")
    parser.add_argument("--input", choices=INPUTS, default="bgr", help="what it was fed (default: %(default)s)")
    parser.add_argument(
        "--dataset", metavar="NAME", help="that names the classes (default: cityscapes, for 19 of them)"
    )
    arguments = parser.parse_intermixed_args()
    with one_line_errors("ocnet-convert"):
        if arguments.head:
            _network(arguments)
        else:
            _backbone(arguments)


def _network(arguments: argparse.Namespace) -> None:
    from ocnet_pl.config.compose import readable_config_errors
    from ocnet_pl.tools.convert.conversion import convert_network

    with readable_config_errors():
        done = convert_network(
            arguments.file,
            arguments.out,
            arguments.head,
            fed=arguments.input,
            dataset=arguments.dataset,
            overrides=arguments.overrides,
        )
    print(f"{done.network}, classes: {done.classes}, input: {INPUTS[arguments.input].words}")
    print(f"{done.tensors} tensors of {arguments.file} -> {arguments.out}")
    print(f"    ocnet-evaluate checkpoint={arguments.out} dataset.root=DIR")
    print(f'    ocnet_pl.load("{arguments.out}").predict(image)')


def _backbone(arguments: argparse.Namespace) -> None:
    if arguments.overrides or arguments.dataset:
        raise UserError("--backbone takes FILE, OUT and --input: --dataset and key=value are for --head")
    from ocnet_pl.tools.convert.conversion import convert_backbone

    done = convert_backbone(arguments.file, arguments.out)
    overrides = shlex.join(INPUTS[arguments.input].overrides)
    print(f"{done.network}, input: {INPUTS[arguments.input].words}")
    print(f"{done.tensors} tensors of {arguments.file} -> {arguments.out}")
    print(f"    ocnet-train model/backbone={done.network} model.backbone.weights={arguments.out} {overrides}")


if __name__ == "__main__":
    main()
