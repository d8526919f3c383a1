"""The NVIDIA GPUs of this machine, asked of the driver itself: no torch, no CUDA toolkit."""

import ctypes
import sys
from dataclasses import dataclass

# cuda.h: CUdevice_attribute
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. sm: its compute capability as in "sm90"; driver: the CUDA version it serves."""

    name: str
    sm: str
    driver: str
    memory_bytes: int = 0


def list_gpus() -> list[Gpu]:
    """The GPUs that the CUDA driver shows; empty where there is no driver or no GPU."""
    driver = _load_driver()
    if driver is None or driver.cuInit(0) != 0:
        return []
    version, count = ctypes.c_int(), ctypes.c_int()
    _check(driver.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    _check(driver.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    served = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return [_describe(driver, ordinal, served) for ordinal in range(count.value)]


def _load_driver() -> ctypes.CDLL | None:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _describe(driver: ctypes.CDLL, ordinal: int, served: str) -> Gpu:
    device = ctypes.c_int()
    _check(driver.cuDeviceGet(ctypes.byref(device), ordinal), "cuDeviceGet")
    name = ctypes.create_string_buffer(256)
    _check(driver.cuDeviceGetName(name, len(name), device), "cuDeviceGetName")
    major, minor = (_attribute(driver, device, which) for which in (_MAJOR, _MINOR))
    memory = ctypes.c_size_t()
    _check(driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device), "cuDeviceTotalMem")
    return Gpu(name.value.decode(), f"sm{major}{minor}", served, memory.value)


def _attribute(driver: ctypes.CDLL, device: ctypes.c_int, which: int) -> int:
    value = ctypes.c_int()
    _check(driver.cuDeviceGetAttribute(ctypes.byref(value), which, device), "cuDeviceGetAttribute")
    return value.value


def _check(status: int, call: str) -> None:
    if status != 0:
        raise RuntimeError(f"{call} of the CUDA driver failed with status {status}")
