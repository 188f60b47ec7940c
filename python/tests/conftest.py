"""What the tests share: nodes on the loopback interface only."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import casm
import casm.testing
import pytest

# Nothing may hang for longer than this, on however busy a machine.
PATIENCE = 60

# A shell that starts the tests in the background has them ignore interrupts,
# and the programs they start inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def node() -> Iterator[casm.Node]:
    with casm.Node(**casm.testing.options(meta={"role": "test"})) as node:
        yield node


@pytest.fixture
def pair() -> Iterator[list[casm.Node]]:
    with casm.testing.cluster(2) as nodes:
        yield nodes


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program in a Python of its own, which must end in time."""

    def run(program: str, **options: object) -> subprocess.CompletedProcess[str]:
        prelude = "import casm, casm.testing, os, sys, threading, time\n"
        prelude += "options = casm.testing.options\n"
        return subprocess.run(
            [sys.executable, "-X", "faulthandler", "-c", prelude + program],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=os.environ | {"PYTHONFAULTHANDLER": "1"},
        )

    return run
