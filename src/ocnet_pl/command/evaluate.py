"""`ocnet-evaluate`: a finished checkpoint on a split, under a protocol."""

import argparse
from pathlib import Path

from ocnet_pl.command.parsing import CommandParser, safe_output
from ocnet_pl.errors import UserError, one_line_errors
from ocnet_pl.escaping import printable
from ocnet_pl.process import leave_stale_group

DESCRIPTION = """\
Tests a checkpoint. The network, the data set and its settings come from the checkpoint; all but the head can be
overridden. The scores are printed and added to the run's result.json."""

EPILOG = """\
examples:
  ocnet-evaluate outputs/demo/base_oc/seed-0/checkpoints/last.ckpt     IoU by class
  ocnet-evaluate last.ckpt split=train                                 another split
  ocnet-evaluate last.ckpt inference=multi_scale                       another protocol: sliding, flip
  ocnet-evaluate checkpoint=last.ckpt dataset.root=DIR trainer=cpu     another place, another machine"""


def main() -> None:
    """Entry point."""
    safe_output()
    parser = CommandParser(
        prog="ocnet-evaluate",
        usage="ocnet-evaluate CHECKPOINT [key=value ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CHECKPOINT | key=value",
        help="the checkpoint, also as checkpoint=FILE; split=, inference=, dataset.root=, trainer=, ...",
    )
    arguments = parser.parse_args()
    with one_line_errors("ocnet-evaluate"):
        checkpoint, overrides = _divided(arguments.words)
        leave_stale_group("ocnet-evaluate")
        from ocnet_pl.report.terminal import print_evaluation
        from ocnet_pl.run.evaluation import evaluate_checkpoint

        outcome = evaluate_checkpoint(checkpoint, overrides)
        if outcome:  # else another process tells
            print_evaluation(outcome.key, outcome.evaluation)
            print(printable(outcome.note))


def _divided(words: list[str]) -> tuple[Path, list[str]]:
    """The checkpoint among what was written, and the rest."""
    files = [word for word in words if word.startswith("checkpoint=") or "=" not in word or Path(word).is_file()]
    if not files:
        raise UserError("which checkpoint? write outputs/<name>/<row>/seed-<n>/checkpoints/last.ckpt")
    if len(files) > 1:
        raise UserError(f"{files[1]}: one checkpoint at a time, and {files[0]} is one; settings are key=value")
    return Path(files[0].removeprefix("checkpoint=")), [word for word in words if word not in files]


if __name__ == "__main__":
    main()
