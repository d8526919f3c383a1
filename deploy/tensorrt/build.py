"""Build the engines of a bundle that are missing, and throw away those that are out of date."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.bundle import Bundle
from deploy.tensorrt.files import EngineFile, engine_files, read_engine, write_engine
from deploy.tensorrt.inspect import check_built, count_built
from deploy.tensorrt.key import ANY_SM, EngineKey
from deploy.tensorrt.loading import describe_engine
from deploy.tensorrt.machine import RTX_SMS, Machine, require_builder
from deploy.tensorrt.plan import Plan, PlanRequest, build_plan
from deploy.tensorrt.settings import EngineSettings, Profile
from deploy.tensorrt.timing import timing_path, write_timings
from toolkit.errors import MismatchError
from toolkit.lock import writing


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that is there now.

    reused: it was there before and is up to date, so that nothing was built; removed: the
    engines that it took the place of; layers: how many of the layers that multiply compute
    in which precision; inspected: whether the engine itself says so too, which takes a GPU.
    """

    path: Path
    key: EngineKey
    reused: bool
    layers: Mapping[str, int]
    inspected: bool
    removed: tuple[Path, ...] = ()

    @property
    def runs_on(self) -> str:
        """The GPUs that it is for, for people."""
        if self.key.sm == ANY_SM:
            return f"RTX GPUs ({', '.join(sorted(RTX_SMS, key=lambda sm: int(sm[2:])))})"
        return f"{self.key.gpu} ({self.key.sm})"

    def as_json(self) -> dict[str, Any]:
        """For the report of `vr export --json`."""
        return {
            "path": str(self.path),
            "target": self.key.target,
            "runs_on": self.runs_on,
            "precision": self.key.precision,
            "profile": str(self.key.profile),
            "reused": self.reused,
            "layers": dict(self.layers),
            "inspected": self.inspected,
            "removed": [str(path) for path in self.removed],
        }


def build_engines(bundle: Bundle, settings: EngineSettings | None = None) -> tuple[Engine, ...]:
    """Build the engines that are missing or do not fit, one a profile, and return all.

    Engines of another ONNX file, and of this GPU and profile but another TensorRT, are
    deleted once those are there. Raises MissingError that says which of GPU and package is
    missing, MismatchError when TensorRT refuses the ONNX file, QualityGateError when an
    engine would not be of the bundle's precision, UsageError for a profile that the bundle
    does not take, StorageError while another process builds here.
    """
    settings = settings or EngineSettings()
    profiles = settings.profiles_for(bundle.batch)
    machine = require_builder(settings.target, bundle)
    with writing(bundle.engines, f"the engines of {bundle.folder}"):
        keys = [_key(machine, bundle, settings, profile) for profile in profiles]
        engines = [_ensure_engine(machine, bundle, key) for key in keys]
        return tuple(
            _reported(engine, reused, removed)
            for (engine, reused), removed in zip(engines, _sweep(bundle, keys), strict=True)
        )


def _key(machine: Machine, bundle: Bundle, settings: EngineSettings, profile: Profile) -> EngineKey:
    gpu = machine.gpu if settings.target == "tensorrt" else None
    return EngineKey(
        onnx_sha256=bundle.onnx_sha256,
        target=settings.target,
        version=machine.version,
        cuda=machine.cuda,
        sm=gpu.sm if gpu else ANY_SM,
        gpu=gpu.name if gpu else "",
        precision=bundle.precision,
        profile=profile,
        workspace_bytes=settings.workspace_bytes,
    )


def _ensure_engine(machine: Machine, bundle: Bundle, key: EngineKey) -> tuple[EngineFile, bool]:
    """The engine, and whether it was there already."""
    path = bundle.engines / f"{key.stem}.plan"
    there = _up_to_date(path, key)
    if there is not None:
        return there, True
    for_gpu = key.target == "tensorrt"  # RTX engines are tuned where they run
    request = PlanRequest(
        onnx=bundle.onnx,
        precision=key.precision,
        profile=key.profile,
        workspace_bytes=key.workspace_bytes,
        timings=timing_path(key.timing_stem) if for_gpu else None,
    )
    plan = build_plan(machine.trt, request)
    facts = {"layers": dict(plan.layers), "driver": machine.gpu.driver if machine.gpu else ""}
    built = _inspect(machine, plan, request) if for_gpu else {"inspected": False, "built": {}}
    engine = write_engine(path, key, plan.content, facts | built)
    if request.timings:
        write_timings(request.timings, plan.timings)
    return engine, False


def _inspect(machine: Machine, plan: Plan, request: PlanRequest) -> dict[str, Any]:
    """What the engine says of itself. Raises QualityGateError where it is something else."""
    counts = count_built(describe_engine(machine.trt, plan.content, request.profile.opt))
    return {
        "built": counts,
        "inspected": check_built(counts, request.precision, request.onnx),
    }


def _up_to_date(path: Path, key: EngineKey) -> EngineFile | None:
    try:
        there = read_engine(path)
    except MismatchError:  # missing, or a damaged description: the engine is built
        return None
    return there if there.key == key and there.is_whole() else None


def _sweep(bundle: Bundle, keys: Iterable[EngineKey]) -> list[tuple[Path, ...]]:
    """Remove what the engines of these keys replace; the paths, for each key.

    An engine of another ONNX file can never be used again. One for another machine may.
    """
    removed: list[tuple[Path, ...]] = []
    for key in keys:
        stale = [
            engine
            for engine in engine_files(bundle)
            if engine.key.onnx_sha256 != bundle.onnx_sha256
            or (engine.key.slot == key.slot and engine.key != key)
        ]
        for engine in stale:
            engine.remove()
        removed.append(tuple(engine.path for engine in stale))
    return removed


def _reported(engine: EngineFile, reused: bool, removed: tuple[Path, ...]) -> Engine:
    layers = engine.note.get("layers")
    return Engine(
        path=engine.path,
        key=engine.key,
        reused=reused,
        layers=dict(layers) if isinstance(layers, dict) else {},
        inspected=engine.note.get("inspected") is True,
        removed=removed,
    )
