"""`ocnet-evaluate`: test a checkpoint on a split, under a protocol."""

from pathlib import Path

from ocnet_pl.command.parsing import CHECKPOINT, CommandParser, console_script
from ocnet_pl.errors import UserError
from ocnet_pl.escaping import printable
from ocnet_pl.hub import local_file
from ocnet_pl.process import leave_stale_group

DESCRIPTION = """\
Tests a checkpoint. The network, the data set and their settings come from the checkpoint; everything except the head
can be overridden. The command prints the scores and adds them to the run's result.json."""

EPILOG = """\
examples:
  ocnet-evaluate outputs/demo/base_oc/seed-0/checkpoints/last.ckpt     IoU of each class
  ocnet-evaluate last.ckpt split=train                                 another split
  ocnet-evaluate last.ckpt inference=multi_scale                       another protocol; also: sliding, flip
  ocnet-evaluate checkpoint=last.ckpt dataset.root=DIR trainer=cpu     another folder, another machine"""


def main() -> None:
    """Entry point."""
    parser = CommandParser(
        prog="ocnet-evaluate",
        usage="ocnet-evaluate CHECKPOINT [key=value ...]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CHECKPOINT | key=value",
        help="the checkpoint, also as checkpoint=FILE; overrides: split=, inference=, dataset.root=, trainer=, ...",
    )
    with console_script("ocnet-evaluate"):
        checkpoint, overrides = _split_words(parser.parse_args().words)
        leave_stale_group("ocnet-evaluate")
        from ocnet_pl.report.terminal import print_evaluation
        from ocnet_pl.run.evaluation import evaluate_checkpoint

        outcome = evaluate_checkpoint(checkpoint, overrides)
        if outcome:  # None in the other processes
            print_evaluation(outcome.key, outcome.evaluation)
            print(printable(outcome.note))


def _split_words(words: list[str]) -> tuple[Path, list[str]]:
    """Separate the checkpoint from the overrides."""
    files = [word for word in words if word.startswith("checkpoint=") or "=" not in word or Path(word).is_file()]
    if not files:
        raise UserError(f"no checkpoint given: pass {CHECKPOINT}")
    if len(files) > 1:
        raise UserError(
            f"{files[1]}: {files[0]} is already the checkpoint; give one checkpoint, and key=value settings"
        )
    return local_file(files[0].removeprefix("checkpoint=")), [word for word in words if word not in files]


if __name__ == "__main__":
    main()
