"""Check and measure everything on one GPU in under nine minutes, and write a report.

    python benchmarks/gpu.py                                  writes experiments/gpu.md
    python benchmarks/gpu.py --rehearse --out rehearsal.md    tiny sizes on the CPU, whose numbers mean nothing

The sections run in the order of importance, each in a process of its own and within a limit; the report names what was
left out. The exit code is 1 if an aim is missed.
"""

import argparse
import shlex
import sys
import tempfile
import time
from pathlib import Path

from on_gpu import equality, evaluation, kernels, machine, steps, synchronisation, trainings
from on_gpu.report import markdown
from on_gpu.running import run
from on_gpu.section import Scope

SECTIONS = (
    machine.SECTION,
    kernels.SECTION,
    equality.SECTION,
    trainings.COMMAND,
    trainings.RESUMING,
    trainings.GROUP,
    synchronisation.SECTION,
    evaluation.SECTION,
    steps.SECTION,  # gets the time that the others leave
)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes on the CPU, to see that everything runs")
    parser.add_argument("--seconds", type=float, default=520, help="time for everything (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("experiments/gpu.md"), help="(default: %(default)s)")
    arguments = parser.parse_args()
    begin, outcomes = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        scope = Scope(arguments.rehearse, Path(folder))
        for section in SECTIONS:
            left = max(1.0, arguments.seconds - (time.monotonic() - begin))
            outcome = run(section, scope, left if arguments.rehearse else min(section.seconds, left))
            outcomes.append(outcome)
            text = markdown(
                outcomes,
                command=shlex.join(["python", *sys.argv]),
                date=time.strftime("%Y-%m-%d"),
                rehearsal=arguments.rehearse,
            )
            arguments.out.write_text(text)  # after each section: what is measured is safe
            missed = f", aim missed: {', '.join(outcome.failures)}" if outcome.failures else ""
            print(f"{section.title}: {outcome.seconds:.0f} s{missed}", flush=True)
    print(f"wrote {arguments.out}")
    sys.exit(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    main()
