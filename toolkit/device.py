"""Which device torch is to use: what was asked for, or an error; never something else."""

from toolkit.errors import MissingError, UsageError

DEVICES = ("auto", "cpu", "cuda")


def resolve_device(asked: str) -> str:
    """The device, cpu or cuda, for what was asked: auto, cpu or cuda.

    Raises MissingError when CUDA is asked for and cannot be had, UsageError for another name.
    """
    import torch

    if asked not in DEVICES:
        raise UsageError(f"There is no device {asked!r}.", mend=f"Use {', '.join(DEVICES)}.")
    if asked == "cuda" and not torch.cuda.is_available():
        build = "has no CUDA in it" if torch.version.cuda is None else "finds no NVIDIA GPU"
        raise MissingError(
            f"--device cuda cannot be had: this torch ({torch.__version__}) {build}.",
            mend="Use --device cpu, or a machine with an NVIDIA GPU, its driver and the extra "
            "gpu: pip install 'vr-toolkit[gpu]'.",
        )
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return asked
