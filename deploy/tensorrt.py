"""TensorRT engines of a bundle: caches of its ONNX file for one GPU, made when they are missing.

An engine is a pure plan file, as trtexec and Triton load it, with a JSON beside it that
says what it was built from and for; one that does not fit any more is built again.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from deploy.bundle import Bundle
from deploy.cuda import Gpu, list_gpus
from deploy.plan import PlanRequest, Profile, build_plan
from toolkit.errors import MismatchError, MissingError
from toolkit.optional import require
from toolkit.workspace import read_json, sha256_file, write_bytes, write_json

Target = Literal["tensorrt", "tensorrt_rtx"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What to build: one engine a profile.

    target: "tensorrt" builds for the GPU of this machine and needs it; "tensorrt_rtx" for
    every RTX GPU, and needs none. workspace_bytes: scratch memory, None for no limit.
    """

    profiles: tuple[Profile, ...] = field(default_factory=lambda: (Profile(),))
    target: Target = "tensorrt"
    workspace_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine depends on: one of another key is not used.

    sm: compute capability, such as "sm90", or "any"; driver: the CUDA version that the
    driver serves, "" where there is none.
    """

    onnx_sha256: str
    target: Target
    version: str
    sm: str
    driver: str
    precision: str
    profile: Profile
    workspace_bytes: int | None

    @property
    def stem(self) -> str:
        """The file name, without its suffix."""
        batch = f"b{self.profile.min}-{self.profile.opt}-{self.profile.max}"
        return f"{self.target}-{self.version}-{self.sm}-{self.precision}-{batch}"

    def digest(self) -> str:
        """The key as 64 hex digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def build_engines(bundle: Bundle, settings: EngineSettings | None = None) -> tuple[Path, ...]:
    """Build the engines that are missing or do not fit, and return the plan files of all.

    Raises MissingError that says which of GPU and package is missing, MismatchError when
    TensorRT refuses the ONNX file; the bundle stays as it is.
    """
    settings = settings or EngineSettings()
    trt, gpu = _require_target(settings.target, bundle)
    return tuple(
        _ensure_engine(trt, bundle, _key(trt, gpu, bundle, settings, profile))
        for profile in settings.profiles
    )


def _require_target(target: Target, bundle: Bundle) -> tuple[ModuleType, Gpu | None]:
    """The module and the GPU to build for; raises one MissingError for all that is missing."""
    lacks: list[MissingError] = []
    trt: ModuleType | None = None
    gpu: Gpu | None = None
    try:
        trt = require(target)
    except MissingError as error:
        lacks.append(error)
    if target == "tensorrt":
        gpu = next(iter(list_gpus()), None)
        if gpu is None:
            lacks.append(_no_gpu())
    if trt is None or lacks:
        raise MissingError(
            " ".join(error.problem for error in lacks),
            mend=" ".join(error.mend for error in lacks)
            + f" The ONNX bundle {bundle.folder} is whole, and works without engines.",
        )
    return trt, gpu


def _no_gpu() -> MissingError:
    return MissingError(
        "Building TensorRT engines needs an NVIDIA GPU, and this machine shows none.",
        mend="Copy the bundle to a machine with an NVIDIA GPU and its driver, and run "
        "`vr export --trt` there.",
    )


def _key(
    trt: ModuleType, gpu: Gpu | None, bundle: Bundle, settings: EngineSettings, profile: Profile
) -> EngineKey:
    return EngineKey(
        onnx_sha256=bundle.onnx_sha256,
        target=settings.target,
        version=str(trt.__version__),
        sm=gpu.sm if gpu else "any",
        driver=gpu.driver if gpu else "",
        precision=bundle.precision,
        profile=profile,
        workspace_bytes=settings.workspace_bytes,
    )


def _ensure_engine(trt: ModuleType, bundle: Bundle, key: EngineKey) -> Path:
    path = bundle.engines / f"{key.stem}.plan"
    if _fits(path, key):
        return path
    cache = bundle.engines / f"{key.target}-{key.version}-{key.sm}.timing"
    spec = bundle.card.preprocessing
    plan = build_plan(
        trt,
        PlanRequest(
            onnx=bundle.onnx,
            size=(spec.height, spec.width),
            profile=key.profile,
            workspace_bytes=key.workspace_bytes,
            timing_cache=_read_cache(cache) if key.target == "tensorrt" else None,
        ),
    )
    write_bytes(path, plan.content)
    write_json(path.with_suffix(".json"), _describe(key, plan.content))
    if plan.timing_cache is not None:
        write_bytes(cache, plan.timing_cache)
    return path


def _read_cache(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _describe(key: EngineKey, content: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    return {**asdict(key), "key": key.digest(), "plan_sha256": sha256}


def _fits(path: Path, key: EngineKey) -> bool:
    """Whether the plan is there, whole, and of this key."""
    if not path.is_file():
        return False
    try:
        note = read_json(path.with_suffix(".json"), "engine description")
    except MismatchError:  # a damaged note says nothing: the engine is built again
        return False
    return note.get("key") == key.digest() and note.get("plan_sha256") == sha256_file(path)
