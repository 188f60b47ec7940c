"""How large a package is: the wheel that is downloaded, and the native library in
it, in bytes. `--peer` does the same for another package, from PyPI."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path


def measure(wheel: Path) -> dict[str, int]:
    libraries = [item for item in zipfile.ZipFile(wheel).infolist() if is_library(item.filename)]
    return {
        "package_bytes": wheel.stat().st_size,
        "library_bytes": sum(item.file_size for item in libraries),
    }


def is_library(name: str) -> bool:
    return name.endswith((".so", ".pyd", ".dylib")) or ".so." in name


def download(name: str, folder: str) -> Path:
    """The wheel of the version that is installed here."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*command, "-d", folder, f"{name}=={version(name)}"], check=True)
    return next(Path(folder).glob("*.whl"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer")
    name = parser.parse_args().peer
    with tempfile.TemporaryDirectory() as folder:
        wheel = download(name, folder) if name else Path(os.environ["CASM_WHEEL"])
        figures = measure(wheel)
    print(json.dumps({"bench": "size", "language": "python", "name": name or "casm", **figures}))
