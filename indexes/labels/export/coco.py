"""Labels as a COCO detection file, written as it is read: memory holds no annotations.

An image of the file is a picture or a frame of a video. A frame is named VIDEO#t=SECONDS and
has `video` and `time_s` of its own; `width` and `height` stand where the file is there.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, BinaryIO

from indexes.labels.export.pictures import Pictures, inside
from indexes.labels.export.rows import LabelledPatch

Rows = Callable[
    [], Generator[LabelledPatch, None, None]
]  # every patch, from the start, in the same order


def write_coco(rows: Rows, names: Sequence[str], pictures: Pictures, stream: BinaryIO) -> int:
    """Write {"images", "annotations", "categories"}; the number of annotations."""
    stream.write(b'{"info": {"description": "labels of a vr index"}, "licenses": [], "images": [')
    with closing(rows()) as patches:
        _write_all(stream, _images(patches, pictures))
    stream.write(b'], "annotations": [')
    with closing(rows()) as patches:
        count = _write_all(stream, _annotations(patches, names, pictures))
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    stream.write(f'], "categories": {json.dumps(categories)}}}\n'.encode())
    return count


def _write_all(stream: BinaryIO, items: Iterable[dict[str, Any]]) -> int:
    count = 0
    for count, item in enumerate(items, start=1):
        stream.write(b"," * (count > 1) + b"\n" + json.dumps(item).encode())
    return count


def _images(patches: Iterable[LabelledPatch], pictures: Pictures) -> Iterator[dict[str, Any]]:
    last = None
    number = 0
    for patch in patches:
        if patch.picture == last:
            continue
        last = patch.picture
        number += 1
        image: dict[str, Any] = {"id": number, "file_name": patch.source}
        if patch.time_s is not None:
            image["file_name"] = f"{patch.source}#t={patch.time_s}"
            image |= {"video": patch.source, "time_s": patch.time_s}
        size = pictures.size(patch)
        if size is not None:
            image |= {"width": size[0], "height": size[1]}
        yield image


def _annotations(
    patches: Iterable[LabelledPatch], names: Sequence[str], pictures: Pictures
) -> Iterator[dict[str, Any]]:
    numbers = {name: number for number, name in enumerate(names, start=1)}
    last = None
    image = 0
    for patch in patches:
        image += patch.picture != last
        last = patch.picture
        size = pictures.size(patch)
        x0, y0, x1, y1 = patch.box if size is None else inside(patch.box, size)
        yield {
            "id": patch.id,
            "image_id": image,
            "category_id": numbers[patch.label],
            "bbox": [round(side, 1) for side in (x0, y0, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 2),
            "iscrowd": 0,
            "score": round(patch.confidence, 4),
            "origin": patch.origin,
            "track": patch.track,
        }
