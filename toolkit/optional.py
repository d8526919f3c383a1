"""The only gate for optional imports: a missing package names the line that installs it."""

import importlib
from types import ModuleType

from toolkit.errors import MissingError

# import name -> (what it gives, extra that brings it)
OPTIONAL = {
    "faiss": ("indexes and search", "cpu (or gpu)"),
    "ray": ("mining on a cluster", "scale"),
    "pymilvus": ("an index in Milvus", "scale"),
    "milvus_lite": ("an index in the embedded Milvus", "scale"),
    "onnxruntime": ("running exported models", "cpu (or gpu)"),
    "tensorrt": ("building and running TensorRT engines", "trt"),
    "tensorrt_rtx": ("building and running TensorRT-RTX engines", "rtx"),
    "cuda.bindings": ("running TensorRT engines", "trt (or rtx)"),
    "torchcodec": ("decoding video on a GPU", "gpu"),
    "pyarrow": ("reading tables of vectors", "parquet"),
    "transformers": ("a backbone hf:NAME", "hf"),
    "huggingface_hub": ("a backbone hf:NAME", "hf"),
    "timm": ("a backbone timm:NAME", "timm"),
}

# A torchvision that does not fit this torch fails in ways of its own where these import it.
_ALSO = {"hf": (OSError, RuntimeError), "timm": (OSError, RuntimeError)}


def require(name: str) -> ModuleType:
    """Import an optional package, or raise MissingError with its install line."""
    gives, extra = OPTIONAL[name]
    try:
        return importlib.import_module(name)
    except (ImportError, *_ALSO.get(extra, ())) as error:
        raise MissingError(
            f"{gives[0].upper()}{gives[1:]} needs the package {name}, which cannot be imported: "
            f"{error}.",
            mend=remedy(name, f"Install the extra {extra}: {install_line(name)}."),
        ) from error


def install_line(name: str) -> str:
    """The line that installs an optional package."""
    return f"pip install 'vr-toolkit[{OPTIONAL[name][1].split()[0]}]'"


def remedy(name: str, otherwise: str) -> str:
    """How to mend a package that does not do what it should.

    That is `otherwise`, but where several distributions have written the same files of it.
    """
    # Only where something is wrong: looking through what is installed would delay every start.
    from toolkit.machine.packages import mend_twice, rivals_of

    rivals = rivals_of(name)
    if not rivals:
        return otherwise
    all_of_them = " and ".join(rival.name for rival in rivals)
    return f"{all_of_them} are installed. {mend_twice(name, rivals, install_line(name))}"
