"""`ocnet-evaluate`: a finished checkpoint on a split, under a protocol."""

import argparse
from pathlib import Path

from ocnet_pl.errors import UserError, one_line_errors


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="ocnet-evaluate",
        usage="ocnet-evaluate checkpoint=FILE [key=value ...]",
        description="Tests a checkpoint. The network, the data set and its settings come from the checkpoint; "
        "all but the head can be overridden. The scores are printed and added to the run's result.json.",
        epilog="examples: ocnet-evaluate checkpoint=outputs/demo/base_oc/seed-0/checkpoints/last.ckpt    "
        "ocnet-evaluate checkpoint=... split=train    ocnet-evaluate checkpoint=... dataset.root=DIR trainer=cpu",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="checkpoint=, split=, inference=, dataset.root=, trainer=, ...",
    )
    arguments = parser.parse_args()
    with one_line_errors("ocnet-evaluate"):
        given = dict(override.split("=", 1) for override in arguments.overrides if "=" in override)
        if "checkpoint" not in given:
            raise UserError("which checkpoint? write checkpoint=outputs/<name>/<row>/seed-<n>/checkpoints/last.ckpt")
        from ocnet_pl.rendering.terminal import print_evaluation
        from ocnet_pl.run.evaluation import evaluate_checkpoint

        outcome = evaluate_checkpoint(Path(given["checkpoint"]), arguments.overrides)
        if outcome:  # else another process tells
            print_evaluation(outcome.key, outcome.evaluation)
            print(outcome.note)


if __name__ == "__main__":
    main()
