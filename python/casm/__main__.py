"""``python -m casm``: the command-line program, if it is installed."""

import os
import shutil
import sys


def main() -> int:
    """Runs the program ``casm``, or says how to get it."""
    program = shutil.which("casm")
    if program is None:
        print(
            "The command-line program is not part of this package. Install it with\n"
            "    cargo install casm-cli\n"
            "and run it as `casm` or `python -m casm`.",
            file=sys.stderr,
        )
        return 1
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
