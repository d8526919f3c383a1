"""The only gate for optional imports: a missing package names the line that installs it."""

import importlib
from types import ModuleType

from toolkit.errors import MissingError

# import name -> (what it gives, extra that brings it)
_EXTRAS = {
    "faiss": ("indexes and search", "cpu (or gpu)"),
    "ray": ("mining on a cluster", "scale"),
    "onnxruntime": ("running exported models", "cpu (or gpu)"),
    "tensorrt": ("building TensorRT engines", "trt"),
    "tensorrt_rtx": ("building TensorRT-RTX engines", "rtx"),
    "torchcodec": ("decoding video on a GPU", "gpu"),
    "transformers": ("a backbone hf:NAME", "hf"),
    "huggingface_hub": ("a backbone hf:NAME", "hf"),
    "timm": ("a backbone timm:NAME", "timm"),
}

# A torchvision that does not fit this torch fails in ways of its own where these import it.
_ALSO = {"hf": (OSError, RuntimeError), "timm": (OSError, RuntimeError)}


def require(name: str) -> ModuleType:
    """Import an optional package, or raise MissingError with its install line."""
    gives, extra = _EXTRAS[name]
    try:
        return importlib.import_module(name)
    except (ImportError, *_ALSO.get(extra, ())) as error:
        first = extra.split()[0]
        raise MissingError(
            f"{gives[0].upper()}{gives[1:]} needs the package {name}, which cannot be imported: "
            f"{error}.",
            mend=f"Install the extra {extra}: pip install 'vr-toolkit[{first}]'.",
        ) from error
