"""FAISS, imported so that it is as fast as this processor allows."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType

from toolkit.machine.cpu import read_cpu
from toolkit.optional import require

_CORE = "OPENBLAS_CORETYPE"


@cache
def load_faiss() -> ModuleType:
    """Import FAISS. Raises MissingError with the line that installs it.

    The OpenBLAS in FAISS's wheels knows few processors and takes new ones for old: on an
    AMD EPYC with AVX-512 naming the core made exact search 3 times faster. It reads the
    variable once, when it is loaded; a choice that was made outside stands.
    """
    named = "faiss" not in sys.modules and _CORE not in os.environ
    if named and read_cpu().features.get("AVX-512"):
        os.environ[_CORE] = "SkylakeX"
    try:
        return require("faiss")
    finally:
        # Processes that this one starts must not inherit what was meant for FAISS alone.
        if named:
            os.environ.pop(_CORE, None)


class one_thread:  # noqa: N801 - used as a function; a generator would take twice the time
    """FAISS with one thread, for work that is too small for several: they would only wait."""

    def __enter__(self) -> None:
        faiss = load_faiss()
        self._threads = faiss.omp_get_max_threads()  # of this thread of Python; others keep theirs
        faiss.omp_set_num_threads(1)

    def __exit__(self, *error: object) -> None:
        load_faiss().omp_set_num_threads(self._threads)


def threads_for(queries: int) -> AbstractContextManager[None]:
    """FAISS with as many threads as a search of so many queries gains from.

    One query is searched by one thread whatever there are; the others would spin beside it,
    which made it ten times slower where something else used the processor too.
    """
    return one_thread() if queries == 1 else nullcontext()
