"""Which packages are installed, by what, and which of them are installed twice.

Two distributions may bring the same import package: faiss-cpu and faiss-gpu-cuvs both
write the folder faiss/. The last one installed wins without a word, and uninstalling one
breaks the other.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from toolkit.optional import OPTIONAL, install_line

# import name -> what it is for; vr cannot do without these
NEEDED = {
    "numpy": "arrays",
    "torch": "training, exporting",
    "onnx": "exporting",
    "onnxscript": "exporting",
    "av": "reading video",
    "cv2": "mining",
    "PIL": "images",
    "safetensors": "weights",
    "tensorboardX": "TensorBoard",
    "jinja2": "HTML pages",
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """An installed distribution, as pip names it."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Package:
    """An import package that vr uses.

    needed: whether vr cannot do without it; gives: what it is for; install: the line that
    installs it; distributions: what brings it here, none where it is missing; twice: whether
    several of them have written the same files.
    """

    name: str
    needed: bool
    gives: str
    install: str
    distributions: tuple[Distribution, ...]
    twice: bool = False


def list_packages() -> tuple[Package, ...]:
    """Every package that vr uses: those that it needs first, then those of an extra."""
    owners = _owners({*NEEDED, *OPTIONAL})
    again = "pip install --force-reinstall vr-toolkit"
    needed = (_describe(name, True, what, again, owners[name]) for name, what in NEEDED.items())
    optional = (
        _describe(name, False, what, install_line(name), owners[name])
        for name, (what, _) in OPTIONAL.items()
    )
    return (*needed, *optional)


def rivals_of(name: str) -> tuple[Distribution, ...]:
    """The distributions that have written the same files of an import package; else empty."""
    owners = _owners([name])[name]
    return tuple(map(_name, owners)) if _clash(name, owners) else ()


def mend_twice(name: str, owners: Iterable[Distribution], install: str) -> str:
    """How to come from several distributions of one package to one."""
    names = " ".join(owner.name for owner in owners)
    either = " (or the extra gpu)" if "gpu" in OPTIONAL.get(name, ("", ""))[1] else ""
    return (
        f"They share the folder {name}/, where the last one installed has won. Take all of them "
        f"away and install one{either}: pip uninstall -y {names}; {install}"
    )


def _describe(
    name: str, needed: bool, gives: str, install: str, owners: Sequence[metadata.Distribution]
) -> Package:
    found = tuple(map(_name, owners))
    return Package(name, needed, gives, install, found, _clash(name, owners))


def _name(installed: metadata.Distribution) -> Distribution:
    return Distribution(installed.metadata["Name"], installed.metadata["Version"])


def _clash(name: str, owners: Sequence[metadata.Distribution]) -> bool:
    """Whether several have the same files; of those that list none it has to be assumed."""
    folder = tuple(name.split("."))
    seen: set[str] = set()
    for owner in owners:
        mine = {
            path.as_posix() for path in owner.files or () if path.parts[: len(folder)] == folder
        }
        if len(owners) > 1 and (not mine or seen & mine):
            return True
        seen |= mine
    return False


def _owners(names: Iterable[str]) -> Mapping[str, tuple[metadata.Distribution, ...]]:
    found: dict[str, dict[str, metadata.Distribution]] = {name: {} for name in names}
    for installed in metadata.distributions():
        if not _is_whole(installed):
            continue
        tops = _import_names(installed)
        for name in found:
            if name.partition(".")[0] in tops and _brings(installed, name):
                # The same one may lie in several folders of the path: the first is used.
                found[name].setdefault(_normal(installed.metadata["Name"]), installed)
    return {name: tuple(found[name][key] for key in sorted(found[name])) for name in found}


def _is_whole(installed: metadata.Distribution) -> bool:
    """Whether it is more than what an interrupted pip left, a folder without its metadata."""
    if installed.read_text("METADATA") is None and installed.read_text("PKG-INFO") is None:
        return False
    return "Name" in installed.metadata and "Version" in installed.metadata


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _brings(installed: metadata.Distribution, name: str) -> bool:
    """Whether it has files of a package whose top folder, such as cuda/, others share."""
    parts = tuple(name.split("."))
    return len(parts) == 1 or any(
        path.parts[: len(parts)] == parts for path in installed.files or ()
    )


def _import_names(installed: metadata.Distribution) -> set[str]:
    declared = installed.read_text("top_level.txt")
    if declared:
        return set(declared.split())
    files = installed.files or []
    return {path.parts[0] if len(path.parts) > 1 else path.name.split(".")[0] for path in files}
