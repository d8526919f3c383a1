"""A process of its own that fills an index in Milvus until somebody kills it.

milvus_killed_build.py ADDRESS SEED: each input is 20 patches of one video; a commit after
every second one. What it prints after a commit must be there from then on.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

from indexes.milvus.address import parse_address
from indexes.milvus.writing import milvus_sink
from indexes.sources import IndexPatch, Origin, Source
from indexes.stores import NewRow
from toolkit.model_card import ModelCard
from toolkit.preprocess import Preprocessing

DIM = 16
CARD = ModelCard("fake", DIM, Preprocessing(32, 32), "f" * 64, {})


def patches_of(name: str) -> list[IndexPatch]:
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    drawn = np.random.default_rng(seed).standard_normal((20, DIM)).astype(np.float32)
    origin = Origin(f"{name}.mp4", hashlib.sha256(name.encode()).hexdigest(), "video", None)
    return [
        IndexPatch(origin, float(i), (0.0, 0.0, 8.0, 8.0), f"{name}-{i % 3}", None, vector, name)
        for i, vector in enumerate(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))
    ]


def main(address: str, first: int) -> None:
    with milvus_sink(parse_address(address), CARD) as sink:
        print("open", flush=True)
        for number in range(first, first + 1000):
            name = f"video {number}"
            source = Source(Path(name), "table", "vectors")
            if sink.has_input(source, name):
                continue
            key = sink.begin_input(source, name)
            sink.add([NewRow(p, p.vector, b"jpeg", key) for p in patches_of(name)])
            sink._send()
            if number % 2:
                sink.commit()
                print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
