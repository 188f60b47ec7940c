"""How long an import takes over bare Python, in milliseconds, how many threads it
starts. `--peer` does the same for another package."""

import argparse
import json
import statistics
import subprocess
import sys

PROGRAM = """
import time, os
start = time.perf_counter()
import {module}
took = time.perf_counter() - start
print(took * 1000, len(os.listdir("/proc/self/task")))
"""


# The modules of the packages whose names are others.
MODULES = {"eclipse-zenoh": "zenoh"}


def measure(module: str, runs: int) -> dict[str, float]:
    took, threads = [], 1
    for _ in range(runs):
        command = [sys.executable, "-c", PROGRAM.format(module=module)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ms, tasks = text.split()
        took.append(float(ms))
        threads = max(threads, int(tasks))
    return {
        "import_ms": round(statistics.median(took), 2),
        "import_ms_best": round(min(took), 2),
        "threads_started": threads - 1,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--peer")
    args = parser.parse_args()
    name = args.peer or "casm"
    figures = measure(MODULES.get(name, name), args.runs)
    print(json.dumps({"bench": "import", "language": "python", "name": name, **figures}))
