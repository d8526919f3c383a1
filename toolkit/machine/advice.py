"""What would make more of this machine: things that work, and could work better."""

from collections.abc import Iterator

from toolkit.machine.report import Report

_LEAST_FREE_BYTES = 5e9
_CUDA_PROVIDER = "CUDAExecutionProvider"
_GPU = "pip install 'vr-toolkit[gpu]' in a fresh environment"


def advise(report: Report) -> tuple[str, ...]:
    """One sentence or two for each; empty where there is nothing to say."""
    return (*_about_gpus(report), *_about_disk(report))


def _about_gpus(report: Report) -> Iterator[str]:
    gpus = report.gpus
    if gpus.problem:
        yield f"The NVIDIA driver does not answer: {gpus.problem}."
    elif gpus.driver and not gpus.gpus:
        yield (
            f"The NVIDIA driver {gpus.driver} is loaded, and shows this process no GPU. In a "
            "container, start it with its GPUs (docker run --gpus all)."
        )
    if not gpus.gpus:
        return
    torch = report.finding("torch")
    if torch.state == "ok" and not torch.details.get("cuda_available"):
        built = torch.details.get("cuda")
        kind = f"for CUDA {built}, and the driver serves {gpus.cuda}" if built else "for CPUs"
        yield f"torch does not use the GPU: this build is {kind}. {_GPU}"
    runtime = report.finding("onnxruntime")
    loaded = [provider.name for provider in report.providers if provider.loads]
    if runtime.state == "ok" and _CUDA_PROVIDER not in loaded:
        yield f"ONNX Runtime does not use the GPU: its CUDA provider does not load. {_GPU}"
    trt = report.finding("tensorrt")
    if trt.state == "ok" and not trt.details.get("builds"):
        yield f"TensorRT's builder does not start: {trt.details.get('reason')}"


def _about_disk(report: Report) -> Iterator[str]:
    if not report.disk.writable:
        yield f"{report.disk.folder} cannot be written to: work in another folder."
    elif report.disk.free_bytes < _LEAST_FREE_BYTES:
        yield f"{report.disk.free_bytes / 1e9:.1f} GB are free here; training and mining need more."
