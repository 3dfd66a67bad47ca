"""What ends a command ends it in one line, with its exit code."""

import errno
import os
import sys
from pathlib import Path

import pytest

from ocnet_pl.errors import UserError, one_line_errors


def ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop, one_line_errors("ocnet-x"):
        raise error
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("a: wrong;\n  do b"), 2, "ocnet-x: error: a: wrong; do b\n"),
        (UserError("\x1b[31mred\x07\udcff: wrong"), 2, "ocnet-x: error: \\x1b[31mred\\x07\\udcff: wrong\n"),
        (KeyboardInterrupt(), 130, "ocnet-x: interrupted\n"),
    ],
)
def test_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(error, capsys) == (code, line)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EACCES, "permissions"),
        (errno.EROFS, "another"),
        (errno.ENOSPC, "free some space"),
        (errno.ENAMETOOLONG, "shorter"),
        (errno.EISDIR, "file"),
        (errno.ENOTDIR, "move it"),
        (errno.EDQUOT, "free some space"),
    ],
)
def test_the_file_system_names_path_and_remedy(number: int, remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = ended(OSError(number, os.strerror(number), "/data/x"), capsys)
    assert code == 2
    assert line.count("\n") == 1
    assert "/data/x" in line
    assert os.strerror(number) in line
    assert remedy in line


@pytest.mark.parametrize("error", [ValueError("bug"), OSError("no path"), OSError(errno.ECHILD, "bug", "/x")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), one_line_errors("ocnet-x"):
        raise error


@pytest.mark.parametrize("by_rich", [False, True])
def test_a_reader_that_has_gone_is_no_error(
    by_rich: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))
    write = Console(file=sys.stdout).print if by_rich else print
    with pytest.raises(SystemExit) as stop, one_line_errors("ocnet-x"):
        write("lost")
    assert stop.value.code == 141
    assert capsys.readouterr().err == ""
    sys.stdout.close()


def test_a_broken_pipe_of_our_own_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), one_line_errors("ocnet-x"):
        raise BrokenPipeError(errno.EPIPE, "of a worker")
