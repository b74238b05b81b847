"""A process that ends a stack when the tests that started it are gone.

The stack is made to outlive the command that starts it, so the kernel cannot tie it to the tests. A
pipe can: it ends when the tests end, however they do.
"""

import shutil
import sys
from pathlib import Path

from flows.stack import down


def main() -> None:
    """Wait for the end of standard input, then end the stack in a folder and remove the folder."""
    folder = Path(sys.argv[1])
    sys.stdin.read()
    down(folder / "stack")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
