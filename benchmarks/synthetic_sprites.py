"""Pictures for synthetic clips: things with soft outlines, and backgrounds to put them on.

A thing is a sequence of poses, RGBA as float32 (height, width, 4), colour 0 to 255 and alpha
0 to 1. Some are cut out of real footage, the sample clips of the demo extra; some are drawn.
"""

from collections.abc import Sequence
from functools import cache
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from cli.demo.footage import sample_clips

Pose = NDArray[np.float32]  # (height, width, 4)
Picture = NDArray[np.float32]  # (height, width, 3), 0 to 255

# What to cut out of which frames of which clip: the corners of its outline, "x,y" in pixels.
_CUTOUTS = {
    "rider": (
        "bikes.mp4",
        range(110, 111),
        "405,20 435,20 445,60 465,75 472,120 478,160 500,200 500,262 372,262 372,200 380,150 "
        "385,90 343,118 343,100 390,60",
    ),
    "car": (
        "bikes.mp4",
        range(165, 166),
        "330,112 345,106 430,106 450,138 450,160 420,163 328,161 322,140",
    ),
    "rabbit": (
        "bigbuckbunny.mp4",
        range(100, 132, 2),
        "400,60 500,60 580,120 610,300 620,500 560,625 380,625 325,500 335,330 290,200 340,140",
    ),
    "man": (
        "carphone_pristine.mp4",
        range(0, 120, 4),
        "75,6 100,12 115,40 118,75 128,95 165,110 170,143 45,143 55,110 36,75 28,45 40,18",
    ),
}
BACKGROUNDS: dict[str, tuple[str, int]] = {
    "street": ("bikes.mp4", 165),
    "wall": ("bikes.mp4", 221),
    "crossing": ("bikes.mp4", 138),
    "garden": ("bigbuckbunny.mp4", 10),
}


@cache
def _real_frames(name: str) -> list[NDArray[np.uint8]]:
    import av

    clip = next(path for path in sample_clips() if path.name == name)
    with av.open(str(clip)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        images = islice(container.decode(video=0), 240)
        return [np.asarray(image.to_ndarray(format="rgb24"), np.uint8) for image in images]


def real(name: str, height: int) -> list[Pose]:
    """A cut-out of real footage, `height` pixels high: rider, car, rabbit or man."""
    clip, which, outline = _CUTOUTS[name]
    points = np.array([corner.split(",") for corner in outline.split()], np.int32)
    x0, y0 = points.min(axis=0)
    x1, y1 = points.max(axis=0) + 1
    factor = height / (y1 - y0)
    size = (round((x1 - x0) * factor), height)
    poses = []
    for number in which:
        frame = _real_frames(clip)[number]
        mask = np.zeros(frame.shape[:2], np.float32)
        cv2.fillPoly(mask, [points], 1.0)
        cut = np.dstack([frame, mask])[y0:y1, x0:x1].astype(np.float32)
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        poses.append(_softened(np.asarray(cv2.resize(cut, size, interpolation=method))))
    # There and back again, so that the sequence has no jump in it.
    return poses + poses[-2:0:-1]


def _softened(pose: Pose) -> Pose:
    alpha = cv2.GaussianBlur(pose[..., 3], (0, 0), 1.0)
    # A border of nothing, so that a soft edge is not cut by the edge of the picture.
    full = np.dstack([pose[..., :3].clip(0, 255), alpha.clip(0, 1)]).astype(np.float32)
    padded = cv2.copyMakeBorder(full, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    padded[[0, 1, -2, -1], :, 3] = 0
    padded[:, [0, 1, -2, -1], 3] = 0
    return np.asarray(padded, np.float32)


def texture(
    random: np.random.Generator,
    height: int,
    width: int,
    contrast: float = 1.0,
    finest: int = 27,
) -> Picture:
    """Coloured noise of three scales around one tint, no two alike.

    finest: how many of the smallest blotches lie side by side on the longer side.
    """
    picture = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((finest // 9, 1.0), (finest // 3, 0.8), (finest, 0.5)):
        across = max(2, round(cells * width / max(height, width)))
        down = max(2, round(cells * height / max(height, width)))
        noise = random.standard_normal((down, across, 3)).astype(np.float32)
        # Things differ more in brightness than in colour.
        noise = 0.35 * noise + 0.65 * noise.mean(axis=2, keepdims=True) * 1.7
        picture += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    tint = random.uniform(60, 190, 3).astype(np.float32)
    return np.asarray((tint + 38 * contrast * picture).clip(0, 255), np.float32)


def _outline(random: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A soft blob: a circle with a wavy radius, squeezed into the picture."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u, v = (2 * x + 1) / width - 1, (2 * y + 1) / height - 1
    angle, radius = np.arctan2(v, u), np.hypot(u, v)
    reach = np.full_like(angle, 0.8)
    for waves in (2, 3, 5):
        reach += random.uniform(0, 0.09) * np.cos(waves * angle + random.uniform(0, 2 * np.pi))
    slope = min(height, width) / 4  # the edge is about two pixels wide
    return np.asarray(((reach - radius) * slope + 0.5).clip(0, 1), np.float32)


def blob(random: np.random.Generator, height: int, width: int, contrast: float = 1.0) -> list[Pose]:
    """A rigid thing of no particular shape."""
    picture = texture(random, height, width, contrast)
    return [np.dstack([picture, _outline(random, height, width)]).astype(np.float32)]


def walker(random: np.random.Generator, height: int, phases: int = 20) -> list[Pose]:
    """An upright figure whose legs and arms swing, one stride over the poses."""
    width = round(height * 0.62)
    parts = [texture(random, height, width, contrast) for contrast in (0.5, 1.0, 0.6, 0.6)]
    return [
        _figure(parts, 0.5 * np.sin(2 * np.pi * phase / phases), height, width)
        for phase in range(phases)
    ]


def _figure(parts: Sequence[Picture], swing: float, height: int, width: int) -> Pose:
    skin, shirt, trousers, shoes = parts
    pose = np.zeros((height, width, 4), np.float32)
    middle, hip, shoulder = width / 2, height * 0.55, height * 0.24
    for side in (-1, 1):
        _limb(pose, trousers, (middle, hip), side * swing * 0.9, height * 0.41, width * 0.13)
        _limb(pose, skin, (middle, shoulder), -side * swing, height * 0.34, width * 0.09)
    body = np.zeros((height, width), np.float32)
    axes = (round(width * 0.2), round(height * 0.21))
    cv2.ellipse(body, (round(middle), round(height * 0.38)), axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA)
    _over(pose, shirt, body)
    head = np.zeros((height, width), np.float32)
    place = (round(middle), round(height * 0.11))
    cv2.circle(head, place, round(height * 0.085), 1.0, -1, cv2.LINE_AA)
    _over(pose, 0.5 * skin + 0.5 * shoes, head)
    return _softened(pose)


def _limb(
    pose: Pose,
    picture: Picture,
    joint: tuple[float, float],
    angle: float,
    length: float,
    thickness: float,
) -> None:
    cover = np.zeros(pose.shape[:2], np.float32)
    end = (joint[0] + length * np.sin(angle), joint[1] + length * np.cos(angle))
    first, last = ((round(point[0]), round(point[1])) for point in (joint, end))
    cv2.line(cover, first, last, 1.0, max(2, round(thickness)), cv2.LINE_AA)
    _over(pose, picture, cover)


def _over(pose: Pose, picture: Picture, cover: NDArray[np.float32]) -> None:
    cover = cover.clip(0, 1)[..., None]
    pose[..., :3] = pose[..., :3] * (1 - cover) + picture * cover
    pose[..., 3:] = np.maximum(pose[..., 3:], cover)


def leaves(random: np.random.Generator, size: int, phases: int = 24) -> list[Pose]:
    """Foliage that sways in place: each of its parts by a phase of its own."""
    picture = texture(random, size, size, 1.3) * np.array([0.6, 1.0, 0.5], np.float32)
    alpha = _outline(random, size, size)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    lag = cv2.resize(random.uniform(0, 2 * np.pi, (4, 4)).astype(np.float32), (size, size))
    poses = []
    for phase in range(phases):
        sway = 3.0 * np.sin(2 * np.pi * phase / phases + lag)
        moved = cv2.remap(picture, x + sway, y + 0.5 * sway, cv2.INTER_LINEAR)
        poses.append(np.dstack([moved, alpha]).astype(np.float32))
    return poses


def flat(height: int, width: int, color: tuple[int, int, int], opacity: float = 1.0) -> list[Pose]:
    """A plain rectangle with a soft edge: a pillar, a lamp."""
    pose = np.ones((height, width, 4), np.float32) * np.array([*color, opacity], np.float32)
    return [_softened(pose)]


def pillar(random: np.random.Generator, height: int, width: int) -> list[Pose]:
    """Something to pass behind."""
    picture = texture(random, height, width, 0.4)
    return [np.dstack([picture, np.ones((height, width))]).astype(np.float32)]


def shadow(height: int, width: int) -> list[Pose]:
    """A soft dark patch through which the ground is seen; too faint to count as a thing."""
    alpha = np.zeros((height, width), np.float32)
    axes = (width // 2 - 4, height // 2 - 3)
    cv2.ellipse(alpha, (width // 2, height // 2), axes, 0, 0, 360, 0.42, -1)
    black = np.zeros((height, width, 3), np.float32)
    return [np.dstack([black, cv2.GaussianBlur(alpha, (0, 0), 2)]).astype(np.float32)]


def screen(random: np.random.Generator, height: int, width: int, poses: int = 40) -> list[Pose]:
    """A display that shows something else all the time."""
    return [
        np.dstack([texture(random, height, width), np.ones((height, width))]).astype(np.float32)
        for _ in range(poses)
    ]


def background(
    name: str, random: np.random.Generator, size: tuple[int, int], zoom: float
) -> Picture:
    """A picture `zoom` times the view of `size` (height, width): a real frame, or a texture.

    Fine grain makes up for what is lost when a small frame is enlarged.
    """
    height, width = (round(side * zoom) for side in size)
    if name not in BACKGROUNDS:
        picture = texture(random, height, width, 0.7, finest=max(height, width) // 8)
    else:
        clip, number = BACKGROUNDS[name]
        frame = _real_frames(clip)[number].astype(np.float32)
        picture = _covering(frame, height, width)
    fine = random.standard_normal((height // 2, width // 2, 1)).astype(np.float32) * 6
    grain = cv2.resize(fine, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.asarray((picture + grain).clip(0, 255), np.float32)


def _covering(frame: Picture, height: int, width: int) -> Picture:
    factor = max(height / frame.shape[0], width / frame.shape[1])
    size = (int(np.ceil(frame.shape[1] * factor)), int(np.ceil(frame.shape[0] * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(frame, size, interpolation=method)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.asarray(resized[top : top + height, left : left + width].clip(0, 255), np.float32)
