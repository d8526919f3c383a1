"""The processor, as Linux spells it for x86 and ARM, and as a container limits it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from toolkit.machine.cpu import Cpu, read_cpu, read_quota

XEON = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R)  Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 avx2 avx512f avx512_vnni amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
OLD = "processor : 0\nmodel name : Intel(R) Core(TM) i5-3470\nflags : fpu sse4_2 avx\n"
ALDER = "model name : i7-12700\nflags : avx2 avx_vnni\n"
GRAVITON = """processor\t: 0
BogoMIPS\t: 2100.00
Features\t: fp asimd aes asimddp sve i8mm bf16
CPU implementer\t: 0x41

Hardware\t: Neoverse-V1
"""


def read(text: str, architecture: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cpu:
    monkeypatch.setattr("platform.machine", lambda: architecture)
    (folder / "cpuinfo").write_text(text)
    return read_cpu(folder / "cpuinfo")


@pytest.mark.parametrize(
    ("text", "model", "has"),
    [
        (
            XEON,
            "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            {"AVX2", "AVX-512", "VNNI", "BF16", "AMX"},
        ),
        (OLD, "Intel(R) Core(TM) i5-3470", set()),
        (ALDER, "i7-12700", {"AVX2", "VNNI"}),
    ],
    ids=["server", "old", "VNNI without AVX-512"],
)
def test_x86(
    text: str, model: str, has: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu = read(text, "x86_64", tmp_path, monkeypatch)
    assert (cpu.model, cpu.architecture) == (model, "x86_64")
    assert {name for name, there in cpu.features.items() if there} == has
    assert set(cpu.features) == {"AVX2", "AVX-512", "VNNI", "BF16", "AMX"}


def test_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = read(GRAVITON, "aarch64", tmp_path, monkeypatch)
    assert cpu.model == "Neoverse-V1"
    assert all(cpu.features.values())
    assert set(cpu.features) == {"NEON", "dot product", "I8MM", "BF16", "SVE"}


def test_without_cpuinfo_the_features_are_unknown(tmp_path: Path) -> None:
    cpu = read_cpu(tmp_path / "none")
    assert cpu.features == {}
    assert cpu.model
    assert 1 <= cpu.usable <= cpu.cores


def test_an_empty_cpuinfo_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read("", "x86_64", tmp_path, monkeypatch).features == {}


def test_this_machine_as_lscpu_sees_it() -> None:
    lscpu = shutil.which("lscpu")
    if lscpu is None:
        pytest.skip("lscpu is not installed")
    text = subprocess.run([lscpu], capture_output=True, text=True, check=True).stdout
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    flags = fields.get("Flags", "").split()
    cpu = read_cpu()
    if cpu.architecture == "x86_64":
        assert cpu.model == " ".join(fields["Model name"].split())
        assert cpu.features["AVX2"] is ("avx2" in flags)
        assert cpu.features["AVX-512"] is ("avx512f" in flags)
        assert cpu.features["AMX"] is ("amx_tile" in flags)


@pytest.mark.parametrize(
    ("text", "quota"),
    [("max 100000\n", None), ("150000 100000\n", 1.5), ("", None), ("5 0\n", None)],
    ids=["no limit", "one and a half", "empty", "no period"],
)
def test_what_a_container_grants(text: str, quota: float | None, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert read_quota(tmp_path) == quota


def test_no_container(tmp_path: Path) -> None:
    assert read_quota(tmp_path) is None
