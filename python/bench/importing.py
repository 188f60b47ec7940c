"""How long an import takes over bare Python, in milliseconds, how many threads it
starts, and how large the native library is."""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import time, os
start = time.perf_counter()
import {module}
took = time.perf_counter() - start
print(took * 1000, len(os.listdir("/proc/self/task")), {module}.__file__)
"""


def measure(module: str, runs: int) -> dict[str, float]:
    took, threads, file = [], 1, ""
    for _ in range(runs):
        command = [sys.executable, "-c", PROGRAM.format(module=module)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ms, tasks, file = text.split(maxsplit=2)
        took.append(float(ms))
        threads = max(threads, int(tasks))
    package = Path(file.strip()).parent
    library = max(package.rglob("*.so"), key=lambda path: path.stat().st_size)
    return {
        "import_ms": round(statistics.median(took), 2),
        "threads_started": threads - 1,
        "library_bytes": library.stat().st_size,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--peer", action="store_true")
    args = parser.parse_args()
    name, module = ("eclipse-zenoh", "zenoh") if args.peer else ("casm", "casm")
    figures = measure(module, args.runs)
    print(json.dumps({"bench": "import", "language": "python", "name": name, **figures}))
