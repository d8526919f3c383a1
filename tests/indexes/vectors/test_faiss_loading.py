"""FAISS is imported with the kernels that this processor has, and nothing leaks to others."""

import os
import subprocess
import sys

import pytest

from toolkit.errors import MissingError

SEEN = """
import os, sys
from types import SimpleNamespace
import indexes.vectors.load as load

avx512, = sys.argv[1:]
load.read_cpu = lambda: SimpleNamespace(features={"AVX-512": True} if avx512 == "yes" else {})
real = load.require

def require(name):
    print("at import", os.environ.get("OPENBLAS_CORETYPE"))
    return real(name)

load.require = require
load.load_faiss()
print("after", os.environ.get("OPENBLAS_CORETYPE"))
load.load_faiss()
"""


@pytest.mark.parametrize(
    ("avx512", "given", "expected"),
    [
        ("yes", None, ["at import SkylakeX", "after None"]),
        ("no", None, ["at import None", "after None"]),
        ("yes", "Haswell", ["at import Haswell", "after Haswell"]),
    ],
)
def test_the_core_is_named_for_the_import_alone(avx512, given, expected):
    environment = {key: v for key, v in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    environment |= {"OPENBLAS_CORETYPE": given} if given else {}
    done = subprocess.run(
        [sys.executable, "-c", SEEN, avx512],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == expected


def test_importing_the_modules_loads_no_faiss():
    code = """
import sys
import indexes.vectors.approximate, indexes.vectors.gpu, indexes.vectors.segment
import indexes.vectors.verify, indexes.plan.choose, indexes.plan.grow
loaded = [name for name in ("faiss", "torch", "cv2") if name in sys.modules]
sys.exit(", ".join(loaded) or 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_faiss_the_install_line_is_named(monkeypatch):
    from indexes.vectors import load

    load.load_faiss.cache_clear()
    monkeypatch.setitem(sys.modules, "faiss", None)
    try:
        with pytest.raises(MissingError, match="Indexes and search needs") as caught:
            load.load_faiss()
    finally:
        load.load_faiss.cache_clear()
    assert "vr-toolkit[cpu]" in caught.value.mend


def test_one_query_is_searched_by_one_thread_and_the_others_come_back():
    from indexes.vectors.load import load_faiss, threads_for

    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        with threads_for(1):
            assert faiss.omp_get_max_threads() == 1
        assert faiss.omp_get_max_threads() == 3
        with threads_for(2):
            assert faiss.omp_get_max_threads() == 3
        with pytest.raises(ZeroDivisionError), threads_for(1):
            raise ZeroDivisionError
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)
