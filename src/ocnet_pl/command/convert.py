"""`ocnet-convert`: convert a checkpoint of the OCNet authors."""

import argparse
import shlex
from pathlib import Path

from ocnet_pl.command.parsing import CommandParser, console_script
from ocnet_pl.errors import UserError
from ocnet_pl.tools.convert.naming import INPUTS, LAYOUTS

DESCRIPTION = """\
Reads a checkpoint of the OCNet authors' code (PyTorch 0.4, weights only) and writes it in the format of ocnet_pl.

  --head NAME  FILE holds a whole network. OUT is a checkpoint with its config, which gives the same predictions and
               works like any other checkpoint: ocnet-evaluate checkpoint=OUT, ocnet_pl.load("OUT").
  --backbone   FILE holds the authors' ImageNet network (resnet101-imagenet.pth). Use OUT to start a training:
               model.backbone.weights=OUT. The command prints all overrides that this training needs.

The depth (ResNet-101 or 50) and the number of classes are inferred from FILE. A file with another network, or with
only part of it, is rejected, and the missing or unexpected names are printed. OUT is never overwritten."""

EPILOG = f"""\
FILE does not say how the network's input was normalised:
{chr(10).join(f"  --input {name:4} {normalisation.description}" for name, normalisation in INPUTS.items())}

examples:
  ocnet-convert CS_scenes_40000.pth --head asp_oc_2019 --input oc asp_oc_2019.ckpt
  ocnet-evaluate checkpoint=asp_oc_2019.ckpt dataset.root=/data/cityscapes
  ocnet-convert resnet101-imagenet.pth --backbone resnet101s.pth
  ocnet-convert small_gpu.pth --head base_oc base_oc.ckpt model.head.downsample=2"""


def main() -> None:
    """Entry point."""
    with console_script("ocnet-convert"):
        arguments = _parser().parse_intermixed_args()
        if not arguments.head and (arguments.overrides or arguments.dataset):
            raise UserError("--backbone takes FILE, OUT and --input: --dataset and key=value are for --head")
        from ocnet_pl.config.compose import readable_config_errors
        from ocnet_pl.tools.convert.conversion import convert_backbone, convert_network

        out = arguments.out
        if arguments.head:
            with readable_config_errors():
                done = convert_network(
                    arguments.file,
                    out,
                    arguments.head,
                    input_name=arguments.input,
                    dataset=arguments.dataset,
                    overrides=arguments.overrides,
                )
            summary = f"{done.network}, classes: {done.classes}"
            uses = [f"ocnet-evaluate checkpoint={out} dataset.root=DIR", f'ocnet_pl.load("{out}").predict(image)']
        else:
            done = convert_backbone(arguments.file, out)
            summary = done.network
            settings = shlex.join(INPUTS[arguments.input].overrides)
            uses = [f"ocnet-train model/backbone={done.network} model.backbone.weights={out} {settings}"]
        print(f"{summary}, input: {INPUTS[arguments.input].description}")
        print(f"{done.tensors} tensors of {arguments.file} -> {out}")
        for use in uses:
            print(f"    {use}")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="ocnet-convert",
        usage="ocnet-convert FILE.pth (--head NAME OUT.ckpt | --backbone OUT.pth) [--input NAME] [--dataset NAME] "
        "[key=value ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="input checkpoint")
    parser.add_argument("out", type=Path, metavar="OUT", help="output checkpoint")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings that FILE does not contain: model.head.downsample=2"
    )
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument("--head", choices=LAYOUTS, help="head of the network in FILE: %(choices)s", metavar="NAME")
    kind.add_argument("--backbone", action="store_true", help="FILE is the ImageNet network")
    parser.add_argument(
        "--input", choices=INPUTS, default="bgr", help="input normalisation of the network (default: %(default)s)"
    )
    parser.add_argument(
        "--dataset", metavar="NAME", help="data set that names the classes (default for 19 classes: cityscapes)"
    )
    return parser


if __name__ == "__main__":
    main()
