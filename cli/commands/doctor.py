"""`vr doctor`: what this machine can do, and the line that mends what it cannot."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli.options import Json
from cli.output import count, emit, say, show_line, show_table, visible

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from toolkit.machine.findings import Finding
    from toolkit.machine.report import Report

_STYLES = {"ok": "green", "missing": "dim", "broken": "bold red", "twice": "bold red"}
_BROKEN = 1
_WIDTH, _INDENT = 78, "    "  # what is for people to read is legible at 80 columns


def doctor(as_json: Json = False) -> int:
    """Say what this machine can do, and what each missing or broken package needs.

    Every package is tried in a process of its own. Exits 1 where something that is installed
    does not work or is installed twice, or where something that vr needs is missing.
    """
    from toolkit.machine.examine import examine

    say("trying every package, which takes some seconds")
    report = examine(Path.cwd())
    if as_json:
        emit(report.as_json())
    else:
        _show(report)
    return 0 if report.usable else _BROKEN


def _show(report: "Report") -> None:
    show_line("This machine")
    show_table(_machine(report))
    show_line("\nPackages")
    show_table(_packages(report))
    for title, lines in (
        ("To mend", _to_mend(report)),
        ("Worth knowing", [line for text in report.advice for line in _wrap(text)]),
        ("To add", _to_add(report)),
    ):
        if lines:
            show_line(f"\n{title}")
        for line in lines:
            show_line(f"  {visible(line)}")
    if report.usable:
        show_line("\nAll that is installed works.")


def _machine(report: "Report") -> "Table":
    table = _plain_table()
    for name, text in _machine_lines(report):
        table.add_row(f"  {name}", _text(text))
    return table


def _machine_lines(report: "Report") -> Iterator[tuple[str, str]]:
    yield "vr", f"{report.vr}, Python {report.python}, {report.system}"
    yield "Processor", f"{report.cpu.model}, {_cores(report)}"
    features = report.cpu.features
    if features:
        has = [name for name, there in features.items() if there]
        lacks = [name for name, there in features.items() if not there]
        yield "", "; ".join(part for part in (", ".join(has), _no(lacks)) if part)
    memory = report.memory
    if memory.total_bytes is not None:
        free = memory.available_bytes
        yield "Memory", f"{_gb(memory.total_bytes)}{'' if free is None else f', {_gb(free)} free'}"
    yield "Disk", f"{_gb(report.disk.free_bytes)} free of {_gb(report.disk.total_bytes)} here"
    yield from _gpu_lines(report)
    releases = ", ".join(map(str, report.ffmpeg))
    yield "FFmpeg", f"shared libraries of release {releases}" if releases else "no shared libraries"


def _gpu_lines(report: "Report") -> Iterator[tuple[str, str]]:
    gpus = report.gpus
    if not gpus.gpus:
        yield "GPU", "the NVIDIA driver shows none" if gpus.driver else "no NVIDIA driver"
    for gpu in gpus.gpus:
        yield "GPU", f"{gpu['name']}, {gpu['sm']}, {_gb(gpu['memory_bytes'])}"
    if gpus.driver or gpus.cuda:
        yield "Driver", f"{gpus.driver or 'unknown version'}, serves CUDA {gpus.cuda or '-'}"


def _cores(report: "Report") -> str:
    cpu = report.cpu
    cores = count(cpu.cores, "core")
    if cpu.usable != cpu.cores:
        cores += f", {cpu.usable} for this process"
    if cpu.quota is not None and cpu.quota < cpu.usable:
        cores += f", time of {cpu.quota:g}"
    return cores


def _no(names: list[str]) -> str:
    return f"no {', '.join(names)}" if names else ""


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


def _packages(report: "Report") -> "Table":
    from rich.text import Text

    table = _plain_table()
    for found in report.findings:
        owners = found.package.distributions
        version = " ".join([found.package.name, *sorted({owner.version for owner in owners})])
        table.add_row(
            Text(f"  {found.state}", _STYLES[found.state]),
            _text(version),
            _text(_worth(found, report)),
        )
    return table


def _worth(found: "Finding", report: "Report") -> str:
    """What a package is for, and what it says of itself where it works."""
    details = found.details
    says = ""
    if found.state == "ok" and found.package.name == "torch":
        gpus = f", {count(details['gpus'], 'GPU')}{', bf16' if details['bf16'] else ''}"
        says = f"for CUDA {details['cuda']}{gpus}" if details["cuda"] else "for the CPU"
    elif found.state == "ok" and found.package.name == "faiss":
        says = f"{found.package.distributions[0].name}, {count(details['gpus'], 'GPU')}"
    elif found.package.name == "onnxruntime" and report.providers:
        says = _providers(report)
    elif found.state == "ok" and "builds" in details:
        says = "builder starts" if details["builds"] else "builder does not start here"
    return f"{found.package.gives}: {says}" if says else found.package.gives


def _providers(report: "Report") -> str:
    names = [(one.name.removesuffix("ExecutionProvider"), one.loads) for one in report.providers]
    loaded = ", ".join(name for name, loads in names if loads)
    rest = ", ".join(name for name, loads in names if not loads)
    return f"{loaded or 'nothing'} loads" + (f", {rest} does not" if rest else "")


def _to_mend(report: "Report") -> list[str]:
    lines = []
    for found in report.findings:
        if found.wrong:
            lines += _wrap(f"{found.package.name}: {found.problem}")
            # A command keeps its line, so that it can be copied.
            for part in re.split(r"(?<=[.:]) (?=pip )", found.mend):
                whole = part.startswith("pip ")
                lines += [f"{_INDENT}{line}" for line in ([part] if whole else _wrap(part, ""))]
    return lines


def _wrap(text: str, indent: str = "    ") -> list[str]:
    return textwrap.wrap(visible(text), _WIDTH - len(_INDENT), subsequent_indent=indent)


def _to_add(report: "Report") -> list[str]:
    """One line for each install line, with all that it gives."""
    gives: dict[str, list[str]] = {}
    for found in report.findings:
        if found.state == "missing" and not found.wrong:
            gives.setdefault(found.package.install, []).append(found.package.gives)
    width = max(map(len, gives), default=0)
    lines = [f"{line:{width}}  {', '.join(dict.fromkeys(what))}" for line, what in gives.items()]
    # The extra gpu brings the same packages as cpu under other names, into the same folders.
    return [f"{line} (in a fresh environment)" if "[gpu]" in line else line for line in lines]


def _plain_table() -> "Table":
    from rich.table import Table

    return Table(box=None, show_header=False, pad_edge=False)


def _text(content: str) -> "Text":
    from rich.text import Text

    return Text(visible(content))
