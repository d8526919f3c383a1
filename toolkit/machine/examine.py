"""A machine looked at from all sides: processor, storage, GPUs, packages and providers."""

import platform
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from toolkit.machine.advice import advise
from toolkit.machine.cpu import read_cpu
from toolkit.machine.findings import judge
from toolkit.machine.packages import list_packages
from toolkit.machine.probe import TIMEOUT_S, Answer, ask_all
from toolkit.machine.report import Gpus, Provider, Report
from toolkit.machine.storage import read_disk, read_memory

PROVIDER = "provider:"


def examine(folder: Path, timeout_s: float = TIMEOUT_S) -> Report:
    """Look at everything; `folder` is where work would be done.

    Each package is imported in a process of its own, for at most `timeout_s` seconds.
    """
    cpu = read_cpu()
    packages = list_packages()
    installed = [package.name for package in packages if package.distributions]
    workers = max(2, min(cpu.usable, 8))
    # The slow ones first, so that none of them is left over at the end.
    installed.sort(key=lambda name: name not in ("torch", "transformers", "tensorboardX"))
    answers = ask_all([*installed, "gpus", "ffmpeg"], workers, timeout_s)
    report = Report(
        vr=vr_version(),
        python=platform.python_version(),
        system=" ".join((platform.system(), platform.release(), platform.machine())),
        cpu=cpu,
        memory=read_memory(),
        disk=read_disk(folder),
        gpus=_gpus(answers["gpus"]),
        findings=tuple(judge(package, answers.get(package.name)) for package in packages),
        providers=_providers(answers.get("onnxruntime"), workers, timeout_s),
        ffmpeg=tuple(answers["ffmpeg"].details.get("releases", ())),
    )
    return replace(report, advice=advise(report))


def vr_version() -> str:
    """The version of vr; "unknown" where it runs from a folder and is not installed."""
    try:
        return metadata.version("vr-toolkit")
    except metadata.PackageNotFoundError:
        return "unknown"


def read_driver(source: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """The version of NVIDIA's kernel driver, such as "580.65.06"; None where there is none."""
    try:
        found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", source.read_text("utf-8", "replace"))
    except OSError:
        return None
    return found[1] if found else None


def _gpus(answer: Answer) -> Gpus:
    gpus = tuple(answer.details.get("gpus", ()))
    return Gpus(gpus, answer.details.get("cuda"), read_driver(), answer.problem)


def _providers(answer: Answer | None, workers: int, timeout_s: float) -> tuple[Provider, ...]:
    names = answer.details.get("providers", ()) if answer else ()
    asked = ask_all([PROVIDER + name for name in names], workers, timeout_s)
    return tuple(Provider(name, asked[PROVIDER + name].problem) for name in names)
