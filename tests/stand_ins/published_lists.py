"""A list of pairs and its archives, imitated: small, and no two pictures near each other."""

import io
import tarfile

import numpy as np

from toolkit.images import encode_jpeg


def jpeg(seed):
    """A picture of its own: coloured squares, so that no two are near each other."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return encode_jpeg(np.kron(cells, np.ones((8, 8, 1), np.uint8)))


def name_of(place):
    return f"videos/{place // 4:03d}/{place:04d}.jpg"


def lines_of(labels):
    """Two lines a label."""
    places = range(2 * len(labels))
    return "".join(f"{name_of(place)} {labels[place // 2]}\n" for place in places)


def write_list(tmp_path, text):
    path = tmp_path / "trainlist.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def tar_of(folder, names=None, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for path in sorted(folder.rglob("*.jpg")):
            tar.add(path, arcname=f"./{path.relative_to(folder)}")
    return buffer.getvalue()


def shards_in(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tar"))}
