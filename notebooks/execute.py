"""Execute notebooks in place, each in a new kernel of this interpreter: `make notebooks`."""

import os
import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom, and return it with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    # Without kernel folders, the only kernel is sys.executable.
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    client = NotebookClient(notebook, km=manager, timeout=600, record_timing=False)
    # The warning recommends widgets, which a committed notebook cannot show.
    environment = os.environ | {"PYTHONWARNINGS": "ignore:IProgress not found"}
    # By default, the client does not stop kernels of a given manager.
    client.execute(cleanup_kc=True, cwd=str(path.parent), env=environment)
    return notebook


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:] or sorted(FOLDER.glob("*.ipynb"))):
        nbformat.write(execute(path), path)
        print(f"executed {path}")
