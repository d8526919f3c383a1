"""Which device mining is to use: what was asked for, or an error; never something else."""

from toolkit.device import resolve_device
from toolkit.mining.settings import Device
from toolkit.video.nvdec import load_torchcodec


def resolve_mining_device(asked: str) -> Device:
    """Cpu or cuda, for what was asked: auto, cpu or cuda.

    "auto" is the CPU: a GPU gives other pairs, so a folder would hold what the machine
    happened to have, and it has not been measured to be quicker. Raises MissingError where
    CUDA is asked for and the GPU or torchcodec cannot be had, UsageError for another name.
    """
    if asked in ("auto", "cpu"):
        return "cpu"
    if resolve_device(asked) == "cuda":
        load_torchcodec()
    return "cuda"
