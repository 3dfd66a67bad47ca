"""The evaluation benchmark compares two ways that agree; the timings are not tested."""

from concurrent.futures import ThreadPoolExecutor

import evaluation
import pytest
import torch
from evaluation import COUNTING, Subject, protocols


@pytest.mark.parametrize("name", [*protocols(), COUNTING])
def test_both_ways_agree(name: str) -> None:
    subject = Subject(name, (49, 97), 5)
    plain, ours = (subject.ways[way]() for way in ("plain", "ours"))
    assert (plain != ours).sum() <= 2
    assert len(plain.unique()) > 2


def test_the_script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(evaluation, "ProcessPoolExecutor", lambda *_, **__: ThreadPoolExecutor(1))
    try:
        evaluation.main(["whole", COUNTING, "--size", "65x97", "--rounds", "1"])
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| whole", f"| {COUNTING}"]
    assert any(line.startswith("machine: ") for line in lines)
