import os
import shutil
from pathlib import Path

from toolkit.machine.storage import Memory, read_disk, read_memory

MEMINFO = "MemTotal:       2000 kB\nMemFree:         100 kB\nMemAvailable:   1500 kB\n"


def read(folder: Path, meminfo: str, limit: str = "", used: str = "") -> Memory:
    for name, text in (("meminfo", meminfo), ("memory.max", limit), ("memory.current", used)):
        if text:
            (folder / name).write_text(text)
    return read_memory(folder / "meminfo", folder)


def test_a_machine_of_its_own(tmp_path: Path) -> None:
    assert read(tmp_path, MEMINFO) == Memory(2_048_000, 1_536_000)


def test_a_container_without_a_limit(tmp_path: Path) -> None:
    assert read(tmp_path, MEMINFO, "max\n", "5\n") == Memory(2_048_000, 1_536_000)


def test_a_container_with_less(tmp_path: Path) -> None:
    assert read(tmp_path, MEMINFO, "1000000\n", "400000\n") == Memory(1_000_000, 600_000)


def test_a_container_that_is_full(tmp_path: Path) -> None:
    assert read(tmp_path, MEMINFO, "1000000\n", "1000001\n") == Memory(1_000_000, 0)


def test_a_limit_above_the_machine_is_none(tmp_path: Path) -> None:
    assert read(tmp_path, MEMINFO, "9999999999\n", "5\n") == Memory(2_048_000, 1_536_000)


def test_without_meminfo_the_total_comes_from_the_system(tmp_path: Path) -> None:
    memory = read_memory(tmp_path / "none", tmp_path)
    assert memory.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.available_bytes is None


def test_the_disk_of_a_folder(tmp_path: Path) -> None:
    disk = read_disk(tmp_path)
    assert disk.total_bytes == shutil.disk_usage(tmp_path).total
    assert 0 < disk.free_bytes <= disk.total_bytes
    assert disk.writable
