"""What a figure was measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "onnxruntime", "faiss-cpu", "numpy", "opencv-contrib-python-headless", "av")


def describe() -> str:
    """Date, processor, cores, Python and packages, as lines of Markdown."""
    return "\n".join(
        [
            f"- date: {datetime.now(UTC):%Y-%m-%d}",
            f"- processor: {_processor()}, {os.cpu_count()} cores, no GPU used",
            f"- system: {platform.system()} {platform.release()}, Python "
            f"{platform.python_version()}",
            f"- packages: {', '.join(f'{name} {_version(name)}' for name in PACKAGES)}",
        ]
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
