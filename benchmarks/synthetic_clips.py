"""Synthetic clips with exactly known motion: the truth that mining is measured against.

`make_clips(folder)` draws the scenes of `synthetic_scenes` into a cache folder, once for each
seed and version of these files, and gives each clip with its truth.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from synthetic_drawing import Record, Scene, Truth, pictures_of
from synthetic_scenes import SAME_SEED, SCENES

from toolkit.workspace import atomic_file

_ARRAYS = ("counted", "waves", "times_s", "shots", "boxes", "visible", "places")


@dataclass(frozen=True)
class SyntheticClip:
    """A clip on disk and what is in it."""

    name: str
    path: Path
    truth: Truth


def make_clips(
    folder: Path, seed: int = 0, names: Sequence[str] | None = None
) -> list[SyntheticClip]:
    """The clips of all scenes, or of those named; drawn where they are not in the folder yet."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for name, build in SCENES.items():
        if names is None or name in names:
            path = folder / f"{name}-{seed}-{_version()}.mp4"
            truth = path.with_suffix(".npz")
            if not (path.is_file() and truth.is_file()):
                for old in folder.glob(f"{name}-{seed}-*"):
                    old.unlink(missing_ok=True)
                key = SAME_SEED.get(name, name).encode()
                _write(build(np.random.default_rng([seed, *key]), name), path, seed)
            clips.append(SyntheticClip(name, path, read_truth(truth)))
    return clips


def _version() -> str:
    """Of what draws: these files and the libraries whose pixels they use."""
    digest = hashlib.sha256(f"{cv2.__version__} {np.__version__}".encode())
    for file in sorted(Path(__file__).parent.glob("synthetic_*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


def _write(scene: Scene, path: Path, seed: int) -> None:
    record = Record()
    with atomic_file(path) as draft:
        encode(draft, pictures_of(scene, seed, record), scene.rate, crf=scene.crf)
    truth = record.freeze(scene.size)
    with atomic_file(path.with_suffix(".npz")) as draft:
        about = json.dumps({"names": truth.names, "size": truth.size})
        arrays = {name: getattr(truth, name) for name in _ARRAYS}
        with draft.open("wb") as file:
            np.savez_compressed(file, about=np.array(about), **arrays)


def read_truth(path: Path) -> Truth:
    """What `make_clips` wrote beside a clip."""
    with np.load(path) as stored:
        about = json.loads(str(stored["about"]))
        arrays = {name: stored[name] for name in _ARRAYS}
    return Truth(size=tuple(about["size"]), names=about["names"], **arrays)


def encode(path: Path, pictures: Iterator[NDArray[np.uint8]], rate: int, *, crf: int) -> None:
    """H.264 at a constant quality and rate; one thread, so that each time gives the same."""
    import av

    options = {"preset": "veryfast", "crf": str(crf), "threads": "1"}
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options=options)
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def main() -> None:
    """Draw all clips, and a sheet of frames with the true boxes to look at."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="a PNG to write")
    options = parser.parse_args()
    clips = make_clips(options.folder, options.seed)
    for clip in clips:
        print(f"{clip.name}: {len(clip.truth.times_s)} frames, {len(clip.truth.names)} sprites")
    if options.sheet:
        rows = [np.hstack(list(_marked(clip))) for clip in clips]
        cv2.imwrite(str(options.sheet), np.vstack(rows)[..., ::-1])


def _marked(clip: SyntheticClip, columns: int = 5) -> Iterator[NDArray[np.uint8]]:
    from toolkit.video.decode import frames

    wanted = set(np.linspace(5, len(clip.truth.times_s) - 5, columns).astype(int).tolist())
    for number, frame in enumerate(frames(clip.path)):
        if number in wanted:
            picture = frame.rgb()
            for column, name in enumerate(clip.truth.names):
                box, share = clip.truth.boxes[number, column], clip.truth.visible[number, column]
                if share > 0:
                    x0, y0, x1, y1 = (int(v) for v in box)
                    color = (0, 255, 0) if clip.truth.counted[column] else (255, 0, 0)
                    cv2.rectangle(picture, (x0, y0), (x1, y1), color, 1)
                    label = f"{name} {share:.2f}"
                    cv2.putText(picture, label, (x0, y0 - 3), 0, 0.4, color, 1)
            cv2.putText(picture, f"{clip.name} {number}", (4, 16), 0, 0.5, (255, 255, 0), 1)
            yield np.asarray(cv2.resize(picture, (480, 270), interpolation=cv2.INTER_AREA))


if __name__ == "__main__":
    main()
