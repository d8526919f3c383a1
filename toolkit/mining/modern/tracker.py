"""The state between two analysed frames: live tracks, lost ones, the camera."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolkit.images import RgbImage, crop_patch, shrink
from toolkit.mining.modern.clock import HOLE_S, Beat
from toolkit.mining.modern.live import MIN_POINTS, LiveTrack, seed
from toolkit.mining.modern.motion import (
    STILL,
    Affine,
    DenseFlow,
    Points,
    camera_motion,
    corner_strength,
    follow,
    grid_points,
    moved_by,
    spread_points,
)
from toolkit.mining.modern.proposals import ACTIVE, Moving, find_moving
from toolkit.mining.modern.samples import PLAIN, Step, TrackSample, contrast, likeness, look_at
from toolkit.mining.modern.scene import is_cut
from toolkit.mining.settings import SAMPLES_PER_GAP, MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import Box, Sighting
from toolkit.video.frame import Frame, GrayImage

_LOOK_S = 0.25  # at least so often what moves is looked for, however long the gap is
_CLEAR = 0.35  # share of background points that must agree on the camera's motion
_SAME_BOX = 0.4  # IoU of a track with the moving piece that is taken for it
_WHOLE = 0.7  # share of the smaller of track and piece that lies in the larger, if they are one
_MERGED = 0.3  # share of another track's box in a piece that belongs to both
_TRUST = 0.4  # how far a track's box is drawn to that piece, a beat
_COVERED = 0.4  # share of the smaller box that makes a proposal a known thing
_TWICE = 0.7  # share of a younger track's box inside an older one that makes them one thing
_TOGETHER_PX = 0.5
_ALIKE = 0.4  # likeness from one look to the next
_VISIBLE = 0.75  # share of the box that must be in the frame
_REST_S = 2.0  # a thing that stands still for longer is given up
_FOUND_AGAIN = 0.2  # IoU with where a lost thing was last seen
_MEMORY_S = 2.0  # a thing found again within this is the same one
_UNKNOWN = 0.5  # share of background points followed, where there are none
_BACKGROUND_GRID = (16, 12)


@dataclass(frozen=True, slots=True)
class _Lost:
    number: int
    box: Box
    time_s: float


class Tracker:
    """Feed it frames with `tick`; it holds two small gray frames and no full one."""

    def __init__(self, settings: MiningSettings, tally: Tally) -> None:
        self._settings = settings
        self._tally = tally
        self._live: list[LiveTrack] = []
        self._lost: list[_Lost] = []
        self._previous: GrayImage | None = None
        self._previous_s = 0.0
        self._start_beats(0.0)
        self._zoom = 1.0  # pixels of the video in one of the analysed copy
        self._background: Points = np.zeros((0, 2), np.float32)
        self._camera = STILL  # its motion in the last tick

    def tick(self, frame: Frame, gray: GrayImage) -> Iterator[TrackSample]:
        """Take the next analysed frame (`gray` is its small copy); yield the samples due."""
        previous, self._previous = self._previous, gray
        elapsed_s = frame.time_s - self._previous_s
        self._previous_s = frame.time_s
        self._zoom = frame.width / gray.shape[1]
        if previous is None or previous.shape != gray.shape or not 0 < elapsed_s < HOLE_S:
            if previous is not None and elapsed_s >= HOLE_S:
                self._tally.reject("frames too far apart")
            self._restart(frame.time_s, gray)
            return
        camera, clear = self._follow_all(previous, gray)
        if camera is None:
            self._tally.reject("cuts")
            self._restart(frame.time_s, gray)
            return
        self._drop_leaving(gray)
        if self._looks.strikes(frame.time_s):
            self._look(previous, gray, camera if clear else None, frame.time_s)
            self._drop_changed(gray)
            self._note_motion(frame.time_s)
            if self._sampling.strikes(frame.time_s):
                yield from self._samples(frame)

    def _start_beats(self, time_s: float) -> None:
        stride_s = self._settings.stride_s
        looks = math.ceil(stride_s / _LOOK_S)
        self._looks = Beat(stride_s / looks, time_s)
        self._sampling = Beat(stride_s, time_s)

    def _restart(self, time_s: float, gray: GrayImage) -> None:
        self._live.clear()
        self._camera = STILL
        self._lost.clear()
        self._start_beats(time_s)
        self._background = spread_points(corner_strength(gray), *_BACKGROUND_GRID)

    def _follow_all(self, previous: GrayImage, gray: GrayImage) -> tuple[Affine | None, bool]:
        """Advance all tracks; the camera's motion (None at a cut) and whether it is clear."""
        groups = [self._background, *(track.points for track in self._live)]
        expected = [
            moved_by(self._camera, self._background).astype(np.float32),
            *(track.points + track.velocity for track in self._live),
        ]
        followed = follow(previous, gray, np.concatenate(groups), np.concatenate(expected))
        ends = np.cumsum([len(group) for group in groups])[:-1].tolist()
        background, *things = followed.split(ends)
        share = float(background.kept.mean()) if len(background.kept) >= MIN_POINTS else _UNKNOWN
        if is_cut(previous, gray, share):
            return None, False
        kept = background.kept
        found = camera_motion(self._background[kept], background.after[kept])
        camera, agreeing = found if found else (STILL, 1.0)
        self._camera = camera
        self._background = background.after[kept]
        alive = []
        dense = DenseFlow(previous, gray)
        for track, thing in zip(self._live, things, strict=True):
            if track.advance(thing, camera) or self._rescue(track, dense, camera):
                alive.append(track)
            else:
                self._lose(track, "tracks lost")
        self._live = alive
        return camera, agreeing >= _CLEAR

    def _rescue(self, track: LiveTrack, dense: DenseFlow, camera: Affine) -> bool:
        """Where single points are lost, in blur or on plain clothes, the flow may still tell."""
        points = grid_points(track.box, dense.shape)
        return track.advance(dense.follow(points), camera, may_rest=False)

    def _lose(self, track: LiveTrack, reason: str) -> None:
        self._tally.reject(reason)
        self._lost.append(_Lost(track.number, track.box, self._previous_s))

    def _drop(self, gone: dict[int, str]) -> None:
        """End tracks by number, for the reason given."""
        for track in self._live:
            if track.number in gone:
                self._lose(track, gone[track.number])
        self._live = [track for track in self._live if track.number not in gone]

    def _drop_leaving(self, gray: GrayImage) -> None:
        frame = Box(0, 0, gray.shape[1], gray.shape[0])
        gone = {}
        for track in self._live:
            visible = track.box.intersection(frame) / track.box.area
            if visible < _VISIBLE:
                gone[track.number] = "tracks that left the frame"
        self._drop(gone)

    def _drop_idle(self, time_s: float) -> None:
        """End what came to rest, and the younger of two tracks of one thing."""
        gone = {}
        for index, track in enumerate(self._live):
            if time_s - track.moved_s > _REST_S:
                gone[track.number] = "tracks that came to rest"
            elif any(_part_of(track, older) for older in self._live[:index]):
                gone[track.number] = "tracks that met another"
        self._drop(gone)

    def _look(
        self, previous: GrayImage, gray: GrayImage, camera: Affine | None, time_s: float
    ) -> None:
        """Find what moves: correct the live tracks by it and begin new ones."""
        strength = corner_strength(gray)
        grid = spread_points(strength, *_BACKGROUND_GRID)
        moving = None if camera is None else find_moving(previous, gray, camera)
        if moving is None:
            self._tally.reject("looks with unclear camera motion")
            self._background = grid
            return
        column, row = grid.astype(np.intp).T
        still = grid[~moving.mask[row, column]]
        self._background = still
        free = self._correct(moving, strength)
        self._drop_idle(time_s)
        for box in free:
            self._begin(box, gray, strength, moving)

    def _correct(self, moving: Moving, strength: NDArray[np.float32]) -> list[Box]:
        """Draw each track to the piece that fits it; return the pieces that fit none."""
        taken = set()
        for track in self._live:
            best = max(moving.boxes, key=track.box.iou, default=None)
            if best is not None and best not in taken and self._fits(track, best):
                taken.add(best)
                track.correct(best, _TRUST)
            track.reseed(strength, moving.mask)
            track.activity = moving.share(track.box)
        return [box for box in moving.boxes if box not in taken]

    def _fits(self, track: LiveTrack, piece: Box) -> bool:
        """Whether a piece is this thing and no other, so that its box may be drawn to it."""
        for other in self._live:
            if other is not track and piece.intersection(other.box) > _MERGED * other.box.area:
                return False
        shared = piece.intersection(track.box)
        part_of_it = shared > _WHOLE * track.box.area
        # A leg that moves while the rest stands still is no reason to see only the leg.
        left_of_it = shared > _WHOLE * piece.area and track.travels
        return piece.iou(track.box) >= _SAME_BOX or part_of_it or left_of_it

    def _begin(
        self, box: Box, gray: GrayImage, strength: NDArray[np.float32], moving: Moving
    ) -> None:
        def shared(other: Box) -> float:
            return box.intersection(other) / min(box.area, other.area)

        if any(shared(track.box) > _COVERED for track in self._live):
            return
        if min(box.width, box.height) * self._zoom < self._settings.min_box_pixels:
            self._tally.reject("things too small")
            return
        points, look = seed(box, strength, moving.mask), look_at(gray, box)
        if len(points) < 2 * MIN_POINTS or contrast(look) < PLAIN:
            self._tally.reject("things without texture")
            return
        time_s = self._previous_s
        number = self._number(box, time_s)
        self._live.append(LiveTrack(number, box, points, time_s, moving.velocity(points), look))

    def _number(self, box: Box, time_s: float) -> int:
        """The number of the thing lost here a moment ago, or a new one."""
        self._lost = [lost for lost in self._lost if time_s - lost.time_s < _MEMORY_S]
        live = {track.number for track in self._live}
        near = [lost for lost in self._lost if lost.number not in live]
        best = max(near, key=lambda lost: lost.box.iou(box), default=None)
        if best is not None and best.box.iou(box) > _FOUND_AGAIN:
            return best.number
        self._tally.tracks += 1
        return self._tally.tracks - 1

    def _drop_changed(self, gray: GrayImage) -> None:
        """End what looks like another thing than a moment ago: it is hidden, or was lost."""
        gone = {}
        for track in self._live:
            before, track.look = track.look, look_at(gray, track.box)
            if likeness(before, track.look) < _ALIKE:
                gone[track.number] = "tracks that changed their look"
        self._drop(gone)

    def _note_motion(self, time_s: float) -> None:
        """Take down which tracks have moved since their last sample, or move on the spot."""
        enough = self._settings.min_travel / SAMPLES_PER_GAP
        for track in self._live:
            if math.hypot(*track.travel) >= enough or track.activity >= ACTIVE:
                track.moved_s = time_s

    def _samples(self, frame: Frame) -> Iterator[TrackSample]:
        if not self._live:
            return
        picture = frame.rgb()
        for track in self._live:
            yield self._sample(track, picture, frame.time_s)

    def _sample(self, track: LiveTrack, picture: RgbImage, time_s: float) -> TrackSample:
        height, width = picture.shape[:2]
        step = None
        if track.sampled:
            step = Step(max(track.errors), track.travel, track.activity)
        track.sampled, track.errors, track.shift = True, [], np.zeros(2)
        box = track.box.scaled(self._zoom)
        inside = Box(max(0, box.x0), max(0, box.y0), min(width, box.x1), min(height, box.y1))
        patch = shrink(crop_patch(picture, box), self._settings.patch_pixels)
        sighting = Sighting(round(time_s, 3), inside.rounded())
        return TrackSample(track.number, sighting, patch, track.look, step)


def _part_of(track: LiveTrack, older: LiveTrack) -> bool:
    """Whether a track lies in another and moves with it: a part, and no thing of its own."""
    if track.box.intersection(older.box) < _TWICE * track.box.area:
        return False
    apart = float(np.abs(track.velocity - older.velocity).max())
    return apart < _TOGETHER_PX + 0.3 * float(np.abs(older.velocity).max())
