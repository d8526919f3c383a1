"""How many of the pairs of a street are people, by a judge that mining knows nothing of.

The judge is OpenCV's people detector (HOG and a linear SVM, Dalal and Triggs 2005), asked
about the surroundings of each box. It misses many people, so its share is a lower bound; and
it sees people where there are none, so the same boxes at other times are its control.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from toolkit.images import RgbImage
from toolkit.mining.recipes import mined_pairs
from toolkit.mining.settings import MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import Box
from toolkit.video.decode import frames

_PERSON_PIXELS = 110  # the detector knows people of about 96 pixels in a window of 128
_AROUND = 2.2
_MIN_IOU = 0.3


@dataclass(frozen=True)
class People:
    """Pairs with a person at one end at least, or at both, of all pairs.

    control: the share of boxes that hold a person half the video later, when mostly nobody
    stands there.
    """

    pairs: int
    tracks: int
    either: int
    both: int
    control: float


def people(path: Path, settings: MiningSettings) -> People:
    """Mine a video and ask the detector about both ends of each pair."""
    ends: list[tuple[int, float, Box, float, Box]] = []
    times: list[float] = []
    for pair in mined_pairs(frames(path), settings, Tally()):
        query, positive = pair.query, pair.positive
        ends.append(
            (
                query.track,
                query.sighting.time_s,
                query.sighting.box,
                positive.sighting.time_s,
                positive.sighting.box,
            )
        )
    times = [frame.time_s for frame in frames(path)]
    asked: dict[float, list[Box]] = defaultdict(list)
    for _, first_s, first, second_s, second in ends:
        asked[first_s].append(first)
        asked[second_s].append(second)
        asked[_opposite(first_s, times)].append(first)
    answers = _ask(path, asked)
    marks = [(answers[a, box_a], answers[b, box_b]) for _, a, box_a, b, box_b in ends]
    control = [answers[_opposite(a, times), box] for _, a, box, _, _ in ends]
    return People(
        pairs=len(ends),
        tracks=len({track for track, *_ in ends}),
        either=sum(a or b for a, b in marks),
        both=sum(a and b for a, b in marks),
        control=float(np.mean(control)) if control else 0.0,
    )


def _opposite(time_s: float, times: Sequence[float]) -> float:
    """The frame half a video later, or earlier."""
    at = int(np.searchsorted(times, time_s - 1e-6))
    return times[(at + len(times) // 2) % len(times)]


def _ask(path: Path, asked: dict[float, list[Box]]) -> dict[tuple[float, Box], bool]:
    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())
    answers = {}
    for frame in frames(path):
        if frame.time_s in asked:
            picture = frame.rgb()
            for box in set(asked[frame.time_s]):
                answers[frame.time_s, box] = holds_person(detector, picture, box)
    return answers


def holds_person(detector: cv2.HOGDescriptor, picture: RgbImage, box: Box) -> bool:
    """Whether the detector finds a person about where the box is, at about its size."""
    side = max(box.height, 2 * box.width)
    around = Box.around(*box.center, _AROUND * side / 1.4, _AROUND * side)
    pad = int(side * _AROUND)
    padded = cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    x0, y0 = round(around.x0 + pad), round(around.y0 + pad)
    part = padded[y0 : y0 + round(around.height), x0 : x0 + round(around.width)]
    factor = _PERSON_PIXELS / side
    large = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    if large.shape[0] < 128 or large.shape[1] < 64:
        return False
    found, _ = detector.detectMultiScale(large, winStride=(4, 4), scale=1.05)
    asked = Box(*((v - o) * factor for v, o in zip(box.as_list(), _corner(around), strict=True)))
    # The detector's window has a margin of a sixth on each side of the person.
    people = (Box.around(x + w / 2, y + h / 2, w * 0.6, h * 0.78) for x, y, w, h in found)
    return any(person.iou(asked) >= _MIN_IOU for person in people)


def _corner(box: Box) -> list[float]:
    return [box.x0, box.y0, box.x0, box.y0]


def print_people(path: Path) -> None:
    """The table for one video."""
    found = people(path, MiningSettings())
    print("| footage | pairs | tracks | a person at either end | at both | judge's control |")
    print("|---|---|---|---|---|---|")
    print(
        f"| {path.name} | {found.pairs} | {found.tracks} | {found.either} "
        f"({found.either / max(found.pairs, 1):.0%}) | {found.both} "
        f"({found.both / max(found.pairs, 1):.0%}) | {found.control:.1%} |"
    )
