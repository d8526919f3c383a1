import ctypes
from typing import Any

import pytest

import toolkit.machine.cuda
from toolkit.machine.cuda import Gpu, list_gpus


class FakeDriver:
    """The calls of libcuda.so.1 that are used, with the types of cuda.h."""

    def __init__(self, names: list[bytes], *, init: int = 0, attribute: int = 0) -> None:
        self.names, self.init, self.attribute = names, init, attribute

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self.init

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13020
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:  # noqa: N802
        assert size == len(name)
        name.value = self.names[device.value]
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: Any) -> int:  # noqa: N802
        value._obj.value = {75: 9, 76: device.value}[which]
        return self.attribute

    def cuDeviceTotalMem_v2(self, total: Any, device: ctypes.c_int) -> int:  # noqa: N802
        total._obj.value = (device.value + 1) * 2**36  # more than 32 bits hold
        return 0


def pretend(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver | None) -> None:
    monkeypatch.setattr(toolkit.machine.cuda, "_load_driver", lambda: driver)


def test_no_driver_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, None)
    assert list_gpus() == []


def test_a_driver_that_cannot_start_means_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FakeDriver([b"H200"], init=100))  # CUDA_ERROR_NO_DEVICE
    assert list_gpus() == []


def test_every_gpu_with_its_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FakeDriver([b"NVIDIA H200", b"Other"]))
    assert list_gpus() == [
        Gpu("NVIDIA H200", "sm90", "13.2", 2**36),
        Gpu("Other", "sm91", "13.2", 2**37),
    ]


def test_a_failing_call_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, FakeDriver([b"H200"], attribute=999))
    with pytest.raises(RuntimeError, match=r"cuDeviceGetAttribute .* 999"):
        list_gpus()


@pytest.mark.gpu
def test_a_real_gpu_is_seen() -> None:
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    assert [gpu.name for gpu in list_gpus()] == names
    major, minor = torch.cuda.get_device_capability(0)
    assert list_gpus()[0].sm == f"sm{major}{minor}"
    assert list_gpus()[0].memory_bytes >= torch.cuda.get_device_properties(0).total_memory
