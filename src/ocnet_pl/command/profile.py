"""`ocnet-profile`: what every head costs in parameters, arithmetic, time and memory."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path

from ocnet_pl.atomic import refuse_unwritable
from ocnet_pl.command.parsing import CommandParser, safe_output
from ocnet_pl.errors import UserError, one_line_errors

DESCRIPTION = """\
Measures every context head in this process, side by side: parameters, multiply-adds (attention included), time and
peak memory of the forward pass and of the training step. Weights are random; nothing is downloaded. The numbers go
to a CSV file; one in a sweep's directory, or beside it, ocnet-report shows beside the mIoU.
"""

EXAMPLES = """\
examples:
  ocnet-profile                                          every head on ResNet-101, 769x769, as the paper trains
  ocnet-profile --backbone tiny --size 128               on a backbone of seconds
  ocnet-profile experiment=demo --backbone tiny --size 64x128 --csv outputs/demo/profile.csv
                                                         the networks of the demo
  ocnet-profile --heads base_oc asp_oc --size 1024x2048  two heads at the size that Cityscapes is tested at
  ocnet-profile --heads base_oc pyramid_oc --explicit-attention
                                                         what attention costs when its map is stored, and when not
  ocnet-profile --csv outputs/table1/profile.csv         ... then ocnet-report outputs/table1 shows it beside the mIoU
"""


def main() -> None:
    """Entry point."""
    safe_output()
    with one_line_errors("ocnet-profile"):
        arguments = _parser().parse_args()
        _profile(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="ocnet-profile",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="of ocnet-train's config, where networks are not the default"
    )
    parser.add_argument("--heads", nargs="+", metavar="HEAD", help="of conf/model/head (default: all)")
    parser.add_argument(
        "--backbone", default="resnet101s", metavar="NAME", help="of conf/model/backbone, or any timm name"
    )
    parser.add_argument(
        "--size", type=_size, default="769", help="of the images: a number, or HEIGHTxWIDTH (default: 769)"
    )
    parser.add_argument(
        "--batch", type=_positive("--batch"), default=1, metavar="N", help="images at once (default: 1)"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU where there is one")
    parser.add_argument(
        "--precision", choices=["32", "bf16"], default="32", help="bf16 is autocast, as trainer.precision=bf16-mixed"
    )
    parser.add_argument(
        "--classes", type=_positive("--classes", 255), default=19, metavar="N", help="of the data set (default: 19)"
    )
    parser.add_argument(
        "--repeats", type=_positive("--repeats"), default=3, metavar="N", help="the fastest counts (default: 3)"
    )
    parser.add_argument(
        "--threads",
        type=_positive("--threads"),
        metavar="N",
        help="of the CPU (default: all cores; on a machine that others use too, fewer give steadier times)",
    )
    parser.add_argument(
        "--explicit-attention",
        action="store_true",
        help="measure the textbook attention, which stores the N x N map, beside the one that networks use",
    )
    parser.add_argument(
        "--csv",
        type=Path,
        default=Path("outputs/profile.csv"),
        metavar="FILE",
        help="where the numbers go; replaced (default: %(default)s)",
    )
    return parser


def _size(text: str) -> tuple[int, int]:
    """`769` or `1024x2048` -> (height, width)."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if match is None:
        raise UserError(f"--size {text}: write one number for a square, or HEIGHTxWIDTH, for example 1024x2048")
    size = int(match[1]), int(match[2] or match[1])
    if min(size) < 64:
        raise UserError(f"--size {text}: too small for features at stride 8; use at least 64")
    return size


def _positive(option: str, most: int | None = None) -> Callable[[str], int]:
    def number(text: str) -> int:
        if text.isdecimal() and 1 <= int(text) <= (most or int(text)):
            return int(text)
        raise UserError(f"{option} {text}: a whole number from 1{f' to {most}' if most else ' up'} is expected")

    return number


def _profile(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from torch import set_num_threads

    from ocnet_pl.config.compose import heads
    from ocnet_pl.record.costs import Cost, write_costs
    from ocnet_pl.report.terminal import plain
    from ocnet_pl.run.device import choose_device
    from ocnet_pl.tools.cost.printing import print_costs
    from ocnet_pl.tools.cost.profiling import Setting, head_configs, profile_head

    names = arguments.heads or heads()
    configs = head_configs(names, arguments.backbone, arguments.overrides)
    setting = Setting(
        size=arguments.size,
        batch=arguments.batch,
        device=choose_device(arguments.device),
        backbone=arguments.backbone,
        precision=arguments.precision,
        classes=arguments.classes,
        repeats=arguments.repeats,
        explicit_attention=arguments.explicit_attention,
    )
    try:
        refuse_unwritable(arguments.csv)  # before the minutes of measuring, not after
    except OSError as error:
        raise UserError(f"--csv {arguments.csv}: cannot be written ({error.strerror}); give another file") from error
    if arguments.threads:
        set_num_threads(arguments.threads)
    costs: list[Cost] = []
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("building", total=len(configs))

        def announce(now: str) -> None:
            progress.update(task, description=now)

        for name, config in configs.items():
            for cost in profile_head(name, config, setting, announce):
                costs.append(cost)
                write_costs(arguments.csv, costs)  # a head that the system kills for memory takes no other with it
            progress.advance(task)
    console = Console()
    print_costs(costs, setting.notes, console)
    console.print(plain(f"wrote {arguments.csv}"), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
