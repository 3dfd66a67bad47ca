"""Executes notebooks in place, each in a fresh kernel of this very interpreter: `make notebooks`."""

import os
import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of a run from top to bottom.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    # Without folders to look in there is one kernel only, and it is sys.executable.
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(notebook, km=manager, timeout=600, record_timing=False)
    # It advertises widgets, which a committed notebook cannot show.
    environment = os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"}
    # The client leaves kernels of a given manager running unless it is told not to.
    client.execute(cleanup_kc=True, cwd=str(path.parent), env=environment)
    return notebook


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        nbformat.write(execute(path), path)
        print(f"executed {path}")
