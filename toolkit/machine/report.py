"""What this machine can do: everything that `vr doctor` knows, in one record."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from toolkit.machine.cpu import Cpu
from toolkit.machine.findings import Finding
from toolkit.machine.storage import Disk, Memory


@dataclass(frozen=True, slots=True)
class Provider:
    """One of ONNX Runtime's providers; problem: why it does not load, else empty."""

    name: str
    problem: str

    @property
    def loads(self) -> bool:
        """Whether a session ran on it."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class Gpus:
    """What the CUDA driver shows.

    gpus: `name`, `sm`, `memory_bytes` of each; cuda: the version that the driver serves, None
    without one; driver: its own version; problem: why it does not answer, else empty.
    """

    gpus: tuple[Mapping[str, Any], ...]
    cuda: str | None
    driver: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Report:
    """A machine, examined. advice: what would make more of it, in sentences."""

    vr: str
    python: str
    system: str
    cpu: Cpu
    memory: Memory
    disk: Disk
    gpus: Gpus
    findings: tuple[Finding, ...]
    providers: tuple[Provider, ...]
    ffmpeg: tuple[int, ...]
    advice: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether all that is installed works, and all that vr needs is installed."""
        return not any(finding.wrong for finding in self.findings)

    def finding(self, name: str) -> Finding:
        """That of one import package."""
        return next(found for found in self.findings if found.package.name == name)

    def as_json(self) -> dict[str, Any]:
        """As in `vr doctor --json`."""
        return {
            "usable": self.usable,
            "vr": self.vr,
            "python": self.python,
            "system": self.system,
            "cpu": {**asdict(self.cpu), "features": dict(self.cpu.features)},
            "memory": asdict(self.memory),
            "disk": {**asdict(self.disk), "folder": str(self.disk.folder)},
            "gpus": [dict(gpu) for gpu in self.gpus.gpus],
            "driver": {
                "version": self.gpus.driver,
                "cuda": self.gpus.cuda,
                "problem": self.gpus.problem,
            },
            "packages": [finding.as_json() for finding in self.findings],
            "providers": [
                {"name": one.name, "loads": one.loads, "problem": one.problem}
                for one in self.providers
            ],
            "ffmpeg": list(self.ffmpeg),
            "advice": list(self.advice),
        }
