"""Indexes against raw FAISS: search, build, memory, recall and how they grow.

    python benchmarks/indexing.py                          # everything, about an hour on 2 cores
    python benchmarks/indexing.py --only hot,build --sizes 10000,100000

Sections: hot (a search in an open index), cold (`vr search` as a whole process), build (time and
memory, beside FAISS train and add), autofaiss, choice (recall and memory of the automatic
choice), growth (10,000 to 10,000,000 vectors, with a plot), real (windows of vtest.avi, and how
hard the synthetic vectors are beside them). Everything is kept in --folder and made once; 10
million vectors take 6 GB there, and are deleted again.
"""

import argparse
import tempfile
from pathlib import Path

import indexing_build
import indexing_choice
import indexing_growth
import indexing_real
import indexing_search
from indexing_measuring import Bench
from machine import describe

SECTIONS = {
    "hot": ("A search in an open index", indexing_search.hot),
    "cold": ("`vr search` as a whole process", indexing_search.cold),
    "build": ("Building", indexing_build.build),
    "autofaiss": ("autofaiss on the same vectors", indexing_build.beside_autofaiss),
    "choice": ("The automatic choice", indexing_choice.choice),
    "growth": ("Growth", indexing_growth.growth),
    "real": ("Real embeddings", indexing_real.real),
}


def main() -> None:
    """Measure and print, or write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, with commas")
    parser.add_argument("--sizes", default="10000,100000,1000000", help="vectors, with commas")
    parser.add_argument("--growth", default="10000,100000,1000000,10000000", help="sizes of growth")
    parser.add_argument("--plot", type=Path, help="the SVG of growth")
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=3, help="of each build and hot search")
    parser.add_argument("--runs", type=int, default=15, help="of each whole process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--autofaiss", type=Path, help="Python of an environment with autofaiss")
    parser.add_argument("--bundle", type=Path, help="for real embeddings; trained where not given")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "vr-indexes")
    parser.add_argument("--out", type=Path, help="append to this page")
    options = parser.parse_args()
    sizes = tuple(sorted(int(size) for size in options.sizes.split(",")))
    bench = Bench(options.folder, sizes, options.turns, options.queries, options.threads, options)
    bench.folder.mkdir(parents=True, exist_ok=True)
    tell(options.out, describe() + "\n")
    for name in options.only.split(","):
        title, section = SECTIONS[name]
        tell(options.out, f"## {title}\n\n{section(bench)}")


def tell(out: Path | None, text: str) -> None:
    """To the page, or the terminal."""
    print(text, flush=True)
    if out is not None:
        with out.open("a") as page:
            page.write(text + "\n")


if __name__ == "__main__":
    main()
