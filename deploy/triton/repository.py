"""The folders of a model repository, and when a version of a model exists.

A version is there with the rename of its folder, in which everything was written before.
Triton passes over folders whose names are no numbers, so it never sees half a version. The
config.pbtxt of a new model comes before its first version, that of an older one is brought
up to date after the new version; the next export repairs it after a kill between the two.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.bundle import Bundle
from deploy.tensorrt.files import EngineFile
from deploy.triton.config import (
    Served,
    TritonSettings,
    Versions,
    config_text,
    with_versions,
)
from deploy.triton.engines import capability, served_engines
from toolkit.errors import MismatchError, StorageError
from toolkit.lock import writing
from toolkit.model_card import FILE_NAME, ModelCard
from toolkit.workspace import (
    atomic_folder,
    read_json,
    sha256_file,
    storage_errors,
    write_bytes,
    write_json,
)

CONFIG_NAME = "config.pbtxt"
ENGINE_NAME = "engine.json"
_VERSION = re.compile(r"[1-9][0-9]{0,8}")  # Triton passes over 0 and names with leading zeros
_MOVE = "Choose another folder for --triton, or move the old model away."


@dataclass(frozen=True, slots=True)
class _Content:
    """What a version of a model holds: files by their names there, JSON by theirs.

    files: source and its SHA-256; capabilities: the file for each kind of GPU where there
    are several.
    """

    served: Served
    files: Mapping[str, tuple[Path, str]]
    notes: Mapping[str, Mapping[str, Any]]
    capabilities: Mapping[str, str]


def write_repository(bundle: Bundle, target: Path, settings: TritonSettings | None = None) -> Path:
    """Put a bundle into the model repository `target`, made where needed; returns it.

    The ONNX file becomes the model `settings.name`, its TensorRT engines `NAME_trt`. Where a
    model of that name takes and gives the same, the bundle becomes its next version, and
    its config.pbtxt keeps what was changed in it by hand; a bundle that is its newest version
    already is left as it is. Files are copied, because a repository is shipped elsewhere.

    Raises MismatchError where the model of that name is of another size, dimension or
    batch, or a file is damaged; StorageError where something else has its name, or another
    vr writes there; UsageError for an engine that Triton cannot serve.
    """
    settings = settings or TritonSettings()
    contents = [_onnx_content(bundle, settings)]
    if engines := served_engines(bundle):
        contents.append(_engine_content(bundle, settings, engines))
    with writing(target, f"the model repository {target}"):
        before = [_check_model(target / content.served.name, content) for content in contents]
        for content, versions in zip(contents, before, strict=True):
            _put(target / content.served.name, content, settings, versions)
    return target


def _onnx_content(bundle: Bundle, settings: TritonSettings) -> _Content:
    spec = bundle.card.preprocessing
    size = (spec.height, spec.width)
    return _Content(
        served=Served(
            settings.name,
            "onnxruntime",
            size,
            bundle.card.dim,
            bundle.batch,
            settings.max_batch,
            classes=len(bundle.classes),
        ),
        files={"model.onnx": (bundle.onnx, bundle.onnx_sha256)},
        notes={FILE_NAME: read_json(bundle.folder / FILE_NAME, "model card")},
        capabilities={},
    )


def _engine_content(
    bundle: Bundle, settings: TritonSettings, engines: tuple[EngineFile, ...]
) -> _Content:
    onnx = _onnx_content(bundle, settings)
    most = min(settings.max_batch, *(file.key.profile.max for file in engines))
    best = {min(file.key.profile.opt, most) for file in engines} | {most}
    several = len(engines) > 1
    named = {f"model_{e.key.sm}.plan" if several else "model.plan": e for e in engines}
    return _Content(
        served=Served(
            name=f"{settings.name}_trt",
            backend="tensorrt",
            size=onnx.served.size,
            dim=onnx.served.dim,
            batch=bundle.batch,
            max_batch=most,
            preferred=tuple(sorted(best)),
        ),
        files={name: (e.path, e.plan_sha256) for name, e in named.items()},
        notes={**onnx.notes, ENGINE_NAME: {name: dict(e.note) for name, e in named.items()}},
        capabilities={capability(e.key): n for n, e in named.items()} if several else {},
    )


def _check_model(folder: Path, content: _Content) -> dict[int, Mapping[str, Any]]:
    """The cards of a model's versions, by their numbers; raises where it is another model."""
    if not folder.exists():
        return {}
    if not folder.is_dir():
        raise StorageError(f"{folder} is there and is no model of Triton.", mend=_MOVE)
    numbers = sorted(int(path.name) for path in folder.iterdir() if _VERSION.fullmatch(path.name))
    if (numbers or any(folder.iterdir())) and not (folder / CONFIG_NAME).is_file():
        raise StorageError(f"{folder} is there and was not written by vr.", mend=_MOVE)
    cards = {number: _read_card(folder / str(number)) for number in numbers}
    for number, card in cards.items():
        _check_signature(folder / str(number), card, content.served)
    _check_batch(folder / CONFIG_NAME, content.served)
    return cards


def _read_card(version: Path) -> Mapping[str, Any]:
    if not (version / FILE_NAME).is_file():
        raise StorageError(f"{version} was not written by vr: it has no {FILE_NAME}.", mend=_MOVE)
    return read_json(version / FILE_NAME, "model card")


def _check_signature(version: Path, card: Mapping[str, Any], served: Served) -> None:
    old = ModelCard.from_json(card, str(version / FILE_NAME))
    spec = old.preprocessing
    mine = (served.size, served.dim, served.batch, served.classes)
    classes = 0 if served.backend == "tensorrt" else len(card.get("classes", ()))
    other = ((spec.height, spec.width), old.dim, card.get("batch"), classes)
    if mine != other:
        raise MismatchError(
            f"{version.parent} holds another model: it {_say(*other)}, and this bundle "
            f"{_say(*mine)}.",
            mend=_MOVE,
        )


def _say(size: tuple[int, int], dim: int, batch: int | None, classes: int) -> str:
    batches = f", {batch} at once," if batch else ""
    named = f" and {classes} classes" if classes else ""
    return f"takes pictures of {size[1]}x{size[0]}{batches} and gives {dim} numbers{named}"


def _check_batch(config: Path, served: Served) -> None:
    """An engine has to take the batches that a config of an older one promises."""
    text = config.read_text("utf-8", "replace") if config.is_file() else ""
    promised = re.search(r"^max_batch_size:\s*(\d{1,9})", text, re.MULTILINE)
    if served.backend == "tensorrt" and promised and int(promised[1]) > served.max_batch:
        raise MismatchError(
            f"{config} promises batches of {promised[1]}, and the engine of this bundle takes "
            f"{served.max_batch} at most.",
            mend="Build an engine for larger batches, or lower max_batch_size there.",
        )


def _put(
    folder: Path,
    content: _Content,
    settings: TritonSettings,
    before: Mapping[int, Mapping[str, Any]],
) -> None:
    newest = max(before, default=0)
    if newest and _is_content(folder / str(newest), content):
        _renew(folder, _versions(content, before))
        return
    cards = {**before, newest + 1: content.notes[FILE_NAME]}
    versions = _versions(content, cards)
    if not before:
        text = config_text(content.served, settings, versions)
        write_bytes(folder / CONFIG_NAME, text.encode())
    with atomic_folder(folder / str(newest + 1)) as draft:
        _fill(draft, content)
    if before:
        _renew(folder, versions)


def _is_content(version: Path, content: _Content) -> bool:
    """Whether a version holds these very files and no other models."""
    with storage_errors(version):
        there = {path.name for path in version.iterdir() if path.suffix in (".onnx", ".plan")}
        return there == set(content.files) and all(
            sha256_file(version / name) == digest for name, (_, digest) in content.files.items()
        )


def _fill(draft: Path, content: _Content) -> None:
    for name, (source, digest) in content.files.items():
        shutil.copyfile(source, draft / name)
        if sha256_file(draft / name) != digest:
            raise MismatchError(f"{source} was changed while it was copied.", mend="Try again.")
    for name, note in content.notes.items():
        write_json(draft / name, note)


def _versions(content: _Content, cards: Mapping[int, Mapping[str, Any]]) -> Versions:
    return Versions(
        {number: str(card.get("fingerprint", "")) for number, card in cards.items()},
        {number: str(card.get("precision", "")) for number, card in cards.items()},
        content.capabilities,
    )


def _renew(folder: Path, versions: Versions) -> None:
    path = folder / CONFIG_NAME
    old = path.read_bytes().decode("utf-8", "surrogateescape")
    new = with_versions(old, versions)
    if new != old:  # Triton, polling, loads a model again whose config was written
        write_bytes(path, new.encode("utf-8", "surrogateescape"))
