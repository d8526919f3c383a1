"""How a machine computes: the precision, and whether torch.compile can be had. Found out first."""

import torch
from torch import Tensor

from toolkit.device import resolve_device
from toolkit.errors import MissingError
from toolkit.networks.backbones import build_backbone
from toolkit.training.settings import TrainSettings
from toolkit.training.union import check_compilable


def uses_bfloat16(precision: str, device: str) -> bool:
    """Whether to compute in bfloat16: as asked, or where the processor is built for it."""
    if precision != "auto":
        return precision == "bf16"
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def check_machine(settings: TrainSettings, device: str, world: int = 1) -> str:
    """The device, cpu or cuda, on which `world` processes can compute a run with these settings.

    Nothing of the data is touched. Raises MissingError (no such device, no compiler) and
    UsageError (a backbone that cannot take this size, or cannot be compiled for several).
    """
    device = resolve_device(device)
    size = settings.preprocessing
    if ":" not in settings.backbone:  # those of other packages may load weights
        with torch.device("meta"):
            backbone = build_backbone(
                settings.backbone, dim=settings.embedding_dim, height=size.height, width=size.width
            )
        if settings.compile and world > 1:
            check_compilable(backbone)
    if settings.compile:
        _check_compiler(device)
    return device


def _check_compiler(device: str) -> None:
    """Compile something small: what is missing (a C++ compiler, Python's headers) shows there."""

    def double(x: Tensor) -> Tensor:
        return x * 2

    try:
        torch.compile(double)(torch.ones(2, device=device))
    except Exception as error:  # each back end has its own
        reason = str(error).strip().splitlines()[0]
        raise MissingError(
            f"torch.compile does not work on this machine: {reason}",
            mend="Leave out --compile; or install a C++ compiler and Python's headers (Debian: "
            "g++, python3-dev), for a GPU also the package triton.",
        ) from error
