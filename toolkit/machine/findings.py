"""What a package is worth here: it works, is missing, is broken, or is installed twice."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from toolkit.machine.packages import Package, mend_twice
from toolkit.machine.probe import Answer

State = Literal["ok", "missing", "broken", "twice"]

# What a package needs that pip does not bring.
_BESIDE = {"torchcodec": "It needs the shared libraries of FFmpeg 4 to 9 (apt install ffmpeg). "}


@dataclass(frozen=True, slots=True)
class Finding:
    """A package and what came of importing it.

    state: "twice" where several distributions share its files, whether or not it imports
    today; problem and mend: empty where all is well; details: what it says of itself.
    """

    package: Package
    state: State
    seconds: float
    problem: str
    mend: str
    details: Mapping[str, Any]

    @property
    def wrong(self) -> bool:
        """Whether something is installed that does not work, or is needed and not installed."""
        return self.state in ("broken", "twice") or (
            self.state == "missing" and self.package.needed
        )

    def as_json(self) -> dict[str, Any]:
        """As in `vr doctor --json`."""
        return {
            "name": self.package.name,
            "state": self.state,
            "needed": self.package.needed,
            "gives": self.package.gives,
            "distributions": [asdict(owner) for owner in self.package.distributions],
            "seconds": round(self.seconds, 3),
            "problem": self.problem,
            "mend": self.mend,
            "details": dict(self.details),
        }


def judge(package: Package, answer: Answer | None) -> Finding:
    """What a package is worth; answer: what came of importing it, None where it is missing."""
    if answer is None:
        return Finding(package, "missing", 0.0, "it is not installed", package.install, {})
    state, problem, mend = _judge_installed(package, answer.problem)
    return Finding(package, state, answer.seconds, problem, mend, answer.details)


def _judge_installed(package: Package, problem: str) -> tuple[State, str, str]:
    owners = package.distributions
    if package.twice:
        both = " and ".join(f"{owner.name} {owner.version}" for owner in owners)
        return (
            "twice",
            f"{both} are installed{f'; {problem}' if problem else ''}",
            mend_twice(package.name, owners, package.install),
        )
    if problem:
        again = f"pip install --force-reinstall --no-deps {owners[0].name}"
        return "broken", problem, f"{_BESIDE.get(package.name, '')}{again}"
    return "ok", "", ""
