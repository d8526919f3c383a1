"""TensorRT engines of a bundle: caches of its ONNX file for one GPU, made when they are missing.

An engine is a pure plan file, as trtexec and Triton load it, with a JSON beside it that says
what it was built from and for; one that does not fit any more is built again.
"""

from deploy.tensorrt.build import Engine, build_engines
from deploy.tensorrt.files import EngineFile
from deploy.tensorrt.fit import choose_engine, lookup
from deploy.tensorrt.settings import EngineSettings, Profile, Target

__all__ = [
    "Engine",
    "EngineFile",
    "EngineSettings",
    "Profile",
    "Target",
    "build_engines",
    "choose_engine",
    "lookup",
]
