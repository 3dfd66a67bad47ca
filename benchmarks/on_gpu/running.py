"""Run a section in a process of its own, item by item, within a limit."""

import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field

from own_process import results_of

from on_gpu.section import Finding, Scope, Section


@dataclass
class Outcome:
    """What a section found.

    Attributes:
        section: the section.
        findings: its findings by item, in the order of the items.
        left_out: items without findings, for want of time or because the process ended.
        reason: why items were left out.
        seconds: time that it took.
    """

    section: Section
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Items for which the aim does not hold."""
        return list(dict.fromkeys(item for item, finding in self.findings if finding.holds is False))


def run(section: Section, scope: Scope, seconds: float) -> Outcome:
    """Findings of a section; what it does not reach in time is left out, and named."""
    outcome, begin = Outcome(section), time.monotonic()
    pending: list[str] = []
    try:
        for message in results_of(_work, section, scope, seconds, seconds=seconds):
            if isinstance(message, list):
                pending = message
            elif isinstance(message, str):
                pending.remove(message)
            else:
                outcome.findings.append(message)
    except (TimeoutError, ChildProcessError) as error:
        outcome.reason = str(error)
    if pending:
        outcome.reason = outcome.reason or f"the limit of {seconds:.0f} s was reached"
    outcome.left_out, outcome.seconds = pending, time.monotonic() - begin
    return outcome


def _work(section: Section, scope: Scope, seconds: float) -> Iterator[list[str] | str | tuple[str, Finding]]:
    """All items first; then the findings of each, and its name when it is done."""
    begin = time.monotonic()
    items = list(section.items(scope))
    yield items
    for item in items:
        if time.monotonic() - begin > 0.9 * seconds:  # what would begin now would hardly end in time
            return
        try:
            for finding in section.findings(scope, item):
                yield item, finding
        except Exception as error:
            traceback.print_exc()
            first_line = (str(error) or type(error).__name__).splitlines()[0]
            yield item, Finding((item, f"{type(error).__name__}: {first_line}"), holds=False)
        yield item
