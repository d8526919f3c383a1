"""Labelled pictures for benchmarks: fetched with apt-get, kept outside the checkout."""

import gzip
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from footage import CACHE
from numpy.typing import NDArray

from toolkit.images import RgbImage, shrink
from toolkit.workspace import atomic_folder, sha256_file

_STAMPS = "tuxpaint-stamps-default", "2022.06.04-1"
_FASHION = "dataset-fashion-mnist", "0.0~git20200523.55506a9-1"
_SHA256 = {
    _STAMPS: "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
    _FASHION: "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
}
_FEWEST = 30  # stamps of a class: 20 labels, and some to judge by
_LONGEST = 128
_GARMENTS = (
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
    "ankle boot",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Labelled:
    """Pictures with their classes. name: for people; labels: one a picture."""

    name: str
    pictures: tuple[RgbImage, ...]
    labels: NDArray[np.str_]

    @property
    def classes(self) -> list[str]:
        """Each once, sorted."""
        return sorted(set(self.labels.tolist()))

    def __len__(self) -> int:
        return len(self.labels)


def stamps(cache: Path = CACHE) -> Labelled:
    """Clip art of tuxpaint on white; a class is a category with at least 30 pictures.

    Raises ValueError for another version of the package, CalledProcessError as `footage.vtest`.
    """
    root = _unpacked(_STAMPS, cache) / "usr/share/tuxpaint/stamps"
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*.png")):
        found.setdefault(path.relative_to(root).parts[0], []).append(path)
    chosen = {label: paths for label, paths in found.items() if len(paths) >= _FEWEST}
    pictures = [_on_white(path) for paths in chosen.values() for path in paths]
    labels = [label for label, paths in chosen.items() for _ in paths]
    return Labelled("tuxpaint stamps", tuple(pictures), np.array(labels))


def fashion(part: str = "t10k", cache: Path = CACHE) -> Labelled:
    """Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017), gray 28x28. part: "t10k" or "train"."""
    root = _unpacked(_FASHION, cache) / "usr/share/datasets/fashion-mnist"
    gray = _idx(root / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    numbers = _idx(root / f"{part}-labels-idx1-ubyte.gz", 8)
    pictures = tuple(np.repeat(picture[..., None], 3, axis=2) for picture in gray)
    return Labelled("Fashion-MNIST", pictures, np.array(_GARMENTS)[numbers])


def _idx(path: Path, header: int) -> NDArray[np.uint8]:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def _on_white(path: Path) -> RgbImage:
    from PIL import Image

    with Image.open(path) as image:
        drawn = image.convert("RGBA")
    paper = Image.new("RGBA", drawn.size, "white")
    picture = np.asarray(Image.alpha_composite(paper, drawn).convert("RGB"))
    return shrink(picture, _LONGEST)


def _unpacked(package: tuple[str, str], cache: Path) -> Path:
    name, version = package
    target = cache / name
    if not target.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["apt-get", "download", f"{name}={version}"], cwd=folder, check=True)
            (archive,) = Path(folder).glob(f"{name}_*.deb")
            if sha256_file(archive) != _SHA256[package]:
                raise ValueError(f"{archive.name} is not the known one: {sha256_file(archive)}")
            with atomic_folder(target) as draft:
                subprocess.run(["dpkg-deb", "-x", str(archive), str(draft)], check=True)
    return target
