"""Console scripts: one file each, and none imports torch before it has work to do."""

import sys

if sys.platform == "win32":
    # Locks and the end of child processes are those of POSIX.
    print("ocnet_pl: error: Windows is not supported; use WSL 2, where everything for Linux works", file=sys.stderr)
    raise SystemExit(2)
