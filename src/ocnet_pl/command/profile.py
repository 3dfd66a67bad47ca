"""`ocnet-profile`: cost of heads in parameters, arithmetic, time and memory."""

import argparse
from functools import partial
from pathlib import Path

from ocnet_pl.atomic import refuse_unwritable
from ocnet_pl.command.parsing import CommandParser, add_device, console_script, image_size, whole_number
from ocnet_pl.errors import UserError

DESCRIPTION = """\
Measures heads side by side in one process: parameters, multiply-adds (including attention), time and peak memory of
the forward pass and of the training step. Weights are random; nothing is downloaded. The results go to a CSV file.
ocnet-report shows a file profile.csv in or next to a sweep's directory in its table."""

EPILOG = """\
examples:
  ocnet-profile                                          all heads on ResNet-101, 769x769, as in the paper's training
  ocnet-profile --backbone tiny --size 128               a tiny backbone, takes seconds
  ocnet-profile experiment=demo --backbone tiny --size 56x160 --csv outputs/demo/profile.csv
                                                         the networks of the demo
  ocnet-profile --heads base_oc asp_oc --size 1024x2048  two heads at Cityscapes' test size
  ocnet-profile --heads base_oc pyramid_oc --explicit-attention
                                                         memory-efficient attention compared with textbook attention
  ocnet-profile --csv outputs/table1/profile.csv         ocnet-report outputs/table1 then shows the costs"""


def main() -> None:
    """Entry point."""
    with console_script("ocnet-profile"):
        _profile(_parser().parse_args())


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="ocnet-profile", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="overrides of ocnet-train's config")
    parser.add_argument("--heads", nargs="+", metavar="HEAD", help="options of model/head (default: all)")
    parser.add_argument(
        "--backbone",
        default="resnet101s",
        metavar="NAME",
        help="option of model/backbone, or a timm name (default: %(default)s)",
    )
    parser.add_argument(
        "--size", type=image_size, default="769", help="image size: a number, or HEIGHTxWIDTH (default: %(default)s)"
    )
    count = partial(parser.add_argument, type=whole_number, metavar="N")
    count("--batch", default=1, help="images in a batch (default: %(default)s)")
    add_device(parser)
    parser.add_argument(
        "--precision", choices=["32", "bf16"], default="32", help="bf16: autocast, as trainer.precision=bf16-mixed"
    )
    count("--classes", type=partial(whole_number, largest=255), default=19, help="classes (default: %(default)s)")
    count("--repeats", default=3, help="repetitions; the fastest is reported (default: %(default)s)")
    count("--threads", help="CPU threads (default: all cores; fewer give steadier times on a busy machine)")
    parser.add_argument(
        "--explicit-attention",
        action="store_true",
        help="also measure textbook attention, which stores the N x N map",
    )
    parser.add_argument(
        "--csv",
        type=Path,
        default=Path("outputs/profile.csv"),
        metavar="FILE",
        help="file for the results; replaced if it exists (default: %(default)s)",
    )
    return parser


def _profile(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from torch import set_num_threads

    from ocnet_pl.config.compose import heads
    from ocnet_pl.report.terminal import plain
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.tools.cost.printing import print_costs
    from ocnet_pl.tools.cost.profiling import ProfileSettings, head_configs, profile_heads

    shared = ("size", "batch", "backbone", "precision", "classes", "repeats", "explicit_attention")
    configs = head_configs(arguments.heads or heads(), arguments.backbone, arguments.overrides)
    settings = ProfileSettings(
        device=choose_device(arguments.device), **{name: getattr(arguments, name) for name in shared}
    )
    try:
        refuse_unwritable(arguments.csv)  # before minutes of measuring
    except OSError as error:
        raise UserError(f"--csv {arguments.csv}: cannot be written ({error.strerror}); choose another file") from error
    if arguments.threads:
        set_num_threads(arguments.threads)
    costs = profile_heads(configs, settings, arguments.csv)
    console = Console()
    print_costs(costs, settings, console)
    console.print(plain(f"wrote {arguments.csv}"), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
