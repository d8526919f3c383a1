"""Labels as a folder that FiftyOne reads as a FiftyOneImageDetectionDataset.

labels.json names the classes and, by picture, its detections with boxes relative to its size
(x, y, width, height). A picture is known by its whole path, a frame of a video by the name of
its JPEG in data/.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from indexes.labels.export.pictures import Pictures, frames, inside, unreadable
from indexes.labels.export.rows import LabelledPatch
from toolkit.images import encode_jpeg

Picture = list[LabelledPatch]  # all that have a label in one picture
_NEAR_S = 5.0  # a longer stretch is skipped, not decoded
_MOST_FRAMES = 16  # held at once


def write_fiftyone(patches: Iterable[LabelledPatch], names: Sequence[str], folder: Path) -> int:
    """Fill an empty folder; the number of detections. Raises InputError naming a source."""
    data = folder / "data"
    data.mkdir()
    count = 0
    with (folder / "labels.json").open("w", encoding="utf-8") as stream:
        stream.write(f'{{"classes": {json.dumps(list(names))}, "labels": {{')
        separator = "\n"
        for name, detections in _pictures(patches, data):
            stream.write(f"{separator}{json.dumps(name)}: {json.dumps(detections)}")
            separator = ",\n"
            count += len(detections)
        stream.write("}}\n")
    return count


def _pictures(
    patches: Iterable[LabelledPatch], data: Path
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    pictures = Pictures()
    for run in _runs(groups(patches)):
        first = run[0][0]
        if first.time_s is not None:
            yield from _frames(run, data)
            continue
        size = pictures.size(first)
        if size is None:
            raise unreadable(first.source)
        name = os.path.abspath(first.source)  # noqa: PTH100 - links stay as they are
        yield name, [_detection(patch, size) for patch in run[0]]


def groups(patches: Iterable[LabelledPatch]) -> Iterator[Picture]:
    """The patches of one picture after the other."""
    return (list(group) for _, group in groupby(patches, key=lambda patch: patch.picture))


def _runs(pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    """Each image alone; frames of a video together where one pass over it gives them all."""
    run: list[Picture] = []
    for picture in pictures:
        if run and not _goes_on(run, picture[0]):
            yield run
            run = []
        run.append(picture)
    if run:
        yield run


def _goes_on(run: list[Picture], patch: LabelledPatch) -> bool:
    last = run[-1][0]
    return (
        last.source_id == patch.source_id
        and last.time_s is not None
        and patch.time_s is not None
        and patch.time_s - last.time_s <= _NEAR_S
        and len(run) < _MOST_FRAMES
    )


def _frames(run: list[Picture], data: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    times_s = [picture[0].time_s or 0.0 for picture in run]
    for picture, image in zip(run, frames(run[0][0].source, times_s), strict=True):
        first = picture[0]
        name = f"source{first.source_id}_{round((first.time_s or 0.0) * 1e6)}us"
        (data / f"{name}.jpg").write_bytes(encode_jpeg(image))
        size = (image.shape[1], image.shape[0])
        yield name, [_detection(patch, size) for patch in picture]


def _detection(patch: LabelledPatch, size: tuple[int, int]) -> dict[str, Any]:
    width, height = size
    x0, y0, x1, y1 = inside(patch.box, size)
    relative = (x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)
    detection: dict[str, Any] = {
        "label": patch.label,
        "bounding_box": [round(side, 6) for side in relative],
        "attributes": {"origin": patch.origin, "patch": patch.id, "track": patch.track},
    }
    if patch.origin == "spread":
        detection["confidence"] = round(patch.confidence, 4)
    return detection
