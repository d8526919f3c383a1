"""What an engine depends on, as a key: an engine of another key is not used."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, get_args

from deploy.proof.parity import Precision
from deploy.tensorrt.settings import Profile, Target

ANY_SM = "any"


@dataclass(frozen=True, slots=True)
class EngineKey:
    """What an engine was built from and for.

    version: of TensorRT; cuda: the CUDA that this TensorRT was built for, such as "13", ""
    where it does not tell; sm: compute capability, such as "sm90", or "any"; gpu: its name,
    "" for any, because two GPUs of one capability need not take the same engine.
    """

    onnx_sha256: str
    target: Target
    version: str
    cuda: str
    sm: str
    gpu: str
    precision: Precision
    profile: Profile
    workspace_bytes: int | None

    @property
    def stem(self) -> str:
        """The file name, without its suffix."""
        profile = self.profile
        return "-".join((*self._where(), self.precision, f"b{str(profile).replace('/', '-')}"))

    @property
    def timing_stem(self) -> str:
        """The name of the timing cache: what was measured for one ONNX file serves others."""
        return "-".join((*self._where(), f"cuda{self.cuda}"))

    def _where(self) -> tuple[str, ...]:
        gpu = re.sub(r"[^a-z0-9]+", "-", self.gpu.lower()).strip("-")
        return (self.target, self.version, self.sm, *((gpu,) if gpu else ()))

    @property
    def slot(self) -> tuple[str, ...]:
        """What it is for: of the engines of one slot on one machine only the newest serves."""
        return (self.target, self.sm, self.gpu, self.precision, str(self.profile))

    def digest(self) -> str:
        """The key as 64 hex digits."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The inverse of asdict. Raises KeyError, TypeError, ValueError or UsageError."""
        target, precision = content["target"], content["precision"]
        if target not in get_args(Target) or precision not in get_args(Precision):
            raise ValueError(f"no engine is of {target} in {precision}")
        profile, workspace = content["profile"], content["workspace_bytes"]
        return cls(
            target=target,
            precision=precision,
            profile=Profile(*(int(profile[name]) for name in ("min", "opt", "max"))),
            workspace_bytes=None if workspace is None else int(workspace),
            **{name: str(content[name]) for name in _TEXTS},
        )


_TEXTS = ("onnx_sha256", "version", "cuda", "sm", "gpu")
