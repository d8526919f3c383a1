"""Drawing a scene, and keeping the books of what is seen of each sprite while doing so.

The truth is what was drawn: it is counted from the masks, pixel by pixel, and no tracker had
a part in it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from synthetic_sprites import Picture, Pose

Kind = Literal["thing", "distractor", "fixture"]
Route = Callable[[float], tuple[float, float]]  # seconds to the middle (x, y) in the world
Curve = Callable[[float], float]  # seconds to a number

_SOLID = 0.5  # alpha from which a pixel belongs to the sprite


def always(_time_s: float) -> bool:
    return True


def one(_time_s: float) -> float:
    return 1.0


def zero(_time_s: float) -> float:
    return 0.0


@dataclass(frozen=True)
class Sprite:
    """Something that is drawn; later ones cover earlier ones.

    A `thing` counts; a `distractor` moves or changes but is nothing to be mined; a `fixture`
    belongs to the background. waves: whether its inside moves or it turns, so that it is
    worth mining on the spot. poses run through in 1 / cycle_hz seconds, or stay with 0.
    scale, angle (radians) and shown are functions of time.
    """

    name: str
    poses: Sequence[Pose]
    route: Route
    kind: Kind = "thing"
    waves: bool = False
    cycle_hz: float = 0.0
    scale: Curve = one
    angle: Curve = zero
    shown: Callable[[float], bool] = always

    def pose_at(self, time_s: float) -> Pose:
        return self.poses[int(time_s * self.cycle_hz * len(self.poses)) % len(self.poses)]


@dataclass(frozen=True)
class View:
    """What the camera sees: its middle in the world, its zoom and its roll in radians."""

    x: float
    y: float
    zoom: float = 1.0
    angle: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One scene without a cut. The view (0, 0) is the middle of the background."""

    background: Picture
    sprites: Sequence[Sprite]
    camera: Callable[[float], View] = lambda _time_s: View(0.0, 0.0)
    light: Curve = one
    seconds: float = 8.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A clip to draw: shots one after another, each with a time of its own from 0."""

    name: str
    shots: Sequence[Shot]
    size: tuple[int, int] = (360, 640)  # height, width
    rate: int = 25
    noise: float = 2.0  # of the sensor, gray levels
    crf: int = 14


@dataclass(frozen=True)
class Truth:
    """Where everything is in each frame; T frames, N sprites that are things or distractors.

    times_s (T,); shots (T,) number of the shot; boxes (T, N, 4) xyxy of the visible part in
    pixels, NaN where nothing of it is seen; visible (T, N) share of the sprite that is seen,
    0 to 1; places (T, N, 2) its middle in the world, in lengths of itself (square root of
    its whole box's area), so that differences are its motion against the background;
    counted (N,) whether it is a thing; waves (N,).
    """

    size: tuple[int, int]
    names: list[str]
    counted: NDArray[np.bool_]
    waves: NDArray[np.bool_]
    times_s: NDArray[np.float64]
    shots: NDArray[np.int64]
    boxes: NDArray[np.float64]
    visible: NDArray[np.float64]
    places: NDArray[np.float64]

    def frame_at(self, time_s: float) -> int:
        """The number of the frame whose time is nearest."""
        after = int(np.searchsorted(self.times_s, time_s))
        near = [i for i in (after - 1, after) if 0 <= i < len(self.times_s)]
        return min(near, key=lambda i: abs(float(self.times_s[i]) - time_s))


@dataclass
class Record:
    """Truth while it is gathered: one row a frame; freeze it after the last one."""

    times_s: list[float] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    rows: list[dict[int, tuple[Any, float, Any]]] = field(default_factory=list)
    sprites: list[Sprite] = field(default_factory=list)

    def freeze(self, size: tuple[int, int]) -> Truth:
        frames, count = len(self.rows), len(self.sprites)
        boxes = np.full((frames, count, 4), np.nan)
        visible, places = np.zeros((frames, count)), np.full((frames, count, 2), np.nan)
        for number, row in enumerate(self.rows):
            for column, (box, share, place) in row.items():
                boxes[number, column], visible[number, column] = box, share
                places[number, column] = place
        return Truth(
            size=size,
            names=[sprite.name for sprite in self.sprites],
            counted=np.array([sprite.kind == "thing" for sprite in self.sprites], bool),
            waves=np.array([sprite.waves for sprite in self.sprites], bool),
            times_s=np.array(self.times_s),
            shots=np.array(self.shots),
            boxes=boxes,
            visible=visible,
            places=places,
        )


def drawn(scene: Scene, seed: int = 0) -> tuple[list[NDArray[np.uint8]], Truth]:
    """All frames of a scene, uint8 RGB (height, width, 3), and the truth about them."""
    record = Record()
    pictures = list(pictures_of(scene, seed, record))
    return pictures, record.freeze(scene.size)


def pictures_of(scene: Scene, seed: int, record: Record) -> Iterator[NDArray[np.uint8]]:
    """The frames of a scene one by one; what is seen in each goes into the record."""
    random = np.random.default_rng([seed, 77])
    height, width = scene.size
    # One large tile of noise, shifted at random: drawing it anew for each frame is slow.
    tile = (random.standard_normal((height + 64, width + 64, 1)) * scene.noise).astype(np.float32)
    for number, shot in enumerate(scene.shots):
        known = {
            id(sprite): len(record.sprites) + i
            for i, sprite in enumerate(s for s in shot.sprites if s.kind != "fixture")
        }
        record.sprites += [sprite for sprite in shot.sprites if sprite.kind != "fixture"]
        for step in range(round(shot.seconds * scene.rate)):
            picture, seen = _draw(shot, step / scene.rate, scene.size)
            record.times_s.append(len(record.rows) / scene.rate)
            record.shots.append(number)
            record.rows.append({known[key]: value for key, value in seen.items() if key in known})
            top, left = random.integers(0, 64, 2)
            picture += tile[top : top + height, left : left + width]
            yield picture.round().clip(0, 255).astype(np.uint8)


def _draw(
    shot: Shot, time_s: float, size: tuple[int, int]
) -> tuple[Picture, dict[int, tuple[Any, float, Any]]]:
    height, width = size
    to_view = _to_view(shot.camera(time_s), size)
    down, across = shot.background.shape[:2]
    world = to_view @ _shift(-across / 2, -down / 2)
    picture = np.asarray(
        cv2.warpAffine(
            shot.background, world[:2], (width, height), borderMode=cv2.BORDER_REFLECT_101
        ),
        np.float32,
    )
    owner = np.full(size, -1, np.int32)
    whole: dict[int, float] = {}
    shown = [sprite for sprite in shot.sprites if sprite.shown(time_s)]
    for number, sprite in enumerate(shown):
        whole[number] = _paint(picture, owner, number, sprite, time_s, to_view)
    picture *= shot.light(time_s)
    seen = {}
    for number, sprite in enumerate(shown):
        found = _visible_part(owner, number)
        if found is not None:
            box, area = found
            seen[id(sprite)] = (box, min(1.0, area / max(whole[number], 1)), _place(sprite, time_s))
    return picture, seen


def _to_view(view: View, size: tuple[int, int]) -> NDArray[np.float64]:
    cos, sin = view.zoom * np.cos(view.angle), view.zoom * np.sin(view.angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return np.asarray(_shift(size[1] / 2, size[0] / 2) @ turn @ _shift(-view.x, -view.y))


def _shift(x: float, y: float) -> NDArray[np.float64]:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def _paint(
    picture: Picture,
    owner: NDArray[np.int32],
    number: int,
    sprite: Sprite,
    time_s: float,
    to_view: NDArray[np.float64],
) -> float:
    """Draw a sprite; returns how many pixels it would cover if nothing were in the way."""
    pose = sprite.pose_at(time_s)
    height, width = pose.shape[:2]
    scale, angle, (x, y) = sprite.scale(time_s), sprite.angle(time_s), sprite.route(time_s)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]])
    place = to_view @ turn @ _shift(-width / 2, -height / 2)
    corners = place[:2] @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]])
    (x0, y0), (x1, y1) = np.floor(corners.min(1)).astype(int), np.ceil(corners.max(1)).astype(int)
    solid = float((pose[..., 3] > _SOLID).sum()) * abs(float(np.linalg.det(place[:2, :2])))
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x1 + 1, picture.shape[1]), min(y1 + 1, picture.shape[0])
    if right <= left or bottom <= top:
        return solid
    local = _shift(-left, -top) @ place
    layer = cv2.warpAffine(pose, local[:2], (right - left, bottom - top))
    alpha = layer[..., 3:]
    # The colour fades with the alpha at the border of the pose, where nothing lies beside it.
    part = picture[top:bottom, left:right]
    part += alpha * (layer[..., :3] - part)
    owner[top:bottom, left:right][alpha[..., 0] > _SOLID] = number
    return solid


def _visible_part(owner: NDArray[np.int32], number: int) -> tuple[list[float], float] | None:
    mask = owner == number
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    return [float(v) for v in box], float(mask.sum())


def _place(sprite: Sprite, time_s: float) -> tuple[float, float]:
    rows, columns = np.nonzero(sprite.pose_at(0.0)[..., 3] > _SOLID)
    if not len(rows):
        return (0.0, 0.0)
    length = np.sqrt(float(np.ptp(rows) + 1) * float(np.ptp(columns) + 1)) * sprite.scale(time_s)
    x, y = sprite.route(time_s)
    return x / length, y / length
