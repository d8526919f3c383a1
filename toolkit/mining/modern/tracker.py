"""The state between two analysed frames: live tracks, lost ones, the camera."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolkit.mining.modern.advance import Advance, advance, grid_points
from toolkit.mining.modern.camera import STILL, background_points, camera_motion, moved_by
from toolkit.mining.modern.clock import HOLE_S, Beat
from toolkit.mining.modern.engine import flow_engine
from toolkit.mining.modern.flow import Points, follow_area
from toolkit.mining.modern.live import LiveTrack
from toolkit.mining.modern.overlap import areas, as_array, intersections
from toolkit.mining.modern.picture import STEP, Picture
from toolkit.mining.modern.proposals import ACTIVE, Moving, find_moving
from toolkit.mining.modern.samples import PLAIN, Cutting, Look, Step, TrackSample
from toolkit.mining.modern.scene import is_cut
from toolkit.mining.settings import SAMPLES_PER_GAP, MiningSettings
from toolkit.mining.tally import Tally
from toolkit.records import Box, Sighting
from toolkit.video.frame import GrayImage
from toolkit.video.shown import ShownFrame

_LOOK_S = 0.25  # at least so often what moves is looked for, however long the gap is
_CLEAR = 0.35  # share of background points that must agree on the camera's motion
_SAME_BOX = 0.4  # IoU of a track with the moving piece that is taken for it
_WHOLE = 0.7  # share of the smaller of track and piece that lies in the larger, if they are one
_MERGED = 0.3  # share of another track's box in a piece that belongs to both
_TRUST = 0.4  # how far a track's box is drawn to that piece, a beat
_COVERED = 0.4  # share of the smaller box that makes a proposal a known thing
_TWICE = 0.7  # share of a younger track's box inside an older one that makes them one thing
_TOGETHER_PX = 0.5
_ALIKE = 0.2  # likeness from one look to the next
_VISIBLE = 0.75  # share of the box that must be in the frame
_REST_S = 2.0  # a thing that stands still for longer is given up
_FOUND_AGAIN = 0.2  # IoU with where a lost thing was last seen
_MEMORY_S = 2.0  # a thing found again within this is the same one
_FEW = 5  # background points, with less of which
_UNKNOWN = 0.5  # is taken for the share of them that could be followed


@dataclass(frozen=True, slots=True)
class _Lost:
    number: int
    box: Box
    time_s: float


class Tracker:
    """Feed it frames with `tick`; it holds two small gray frames and no full one."""

    def __init__(self, settings: MiningSettings, tally: Tally) -> None:
        self._settings = settings
        self._engine = flow_engine(settings.device)
        self._tally = tally
        self._live: list[LiveTrack] = []
        self._lost: list[_Lost] = []
        self._previous: Picture | None = None
        self._previous_s = 0.0
        self._start_beats(0.0)
        self._zoom = 1.0  # pixels of the video in one of the analysed copy
        self._background: Points = np.zeros((0, 2), np.float32)
        self._camera = STILL  # its motion in the last tick
        self._clear = True  # whether most of the background agrees on it

    def tick(self, frame: ShownFrame, gray: GrayImage) -> Iterator[TrackSample]:
        """Take the next analysed frame (`gray` is its small copy); yield the samples due."""
        picture = Picture.of(gray)
        previous, self._previous = self._previous, picture
        elapsed_s = frame.time_s - self._previous_s
        self._previous_s = frame.time_s
        self._zoom = frame.width / gray.shape[1]
        if previous is None or previous.gray.shape != gray.shape or not 0 < elapsed_s < HOLE_S:
            if previous is not None and elapsed_s >= HOLE_S:
                self._tally.reject("frames too far apart")
            self._restart(frame.time_s, picture)
            return
        if picture.equals(previous):
            self._rest()
        elif not self._follow_all(previous, picture):
            self._tally.reject("cuts")
            self._restart(frame.time_s, picture)
            return
        self._drop_leaving(gray)
        if self._looks.strikes(frame.time_s):
            self._drop_changed(gray)
            self._look(previous, picture, frame.time_s)
            self._note_motion(frame.time_s)
            if self._sampling.strikes(frame.time_s):
                yield from self._samples(frame)

    def _start_beats(self, time_s: float) -> None:
        stride_s = self._settings.stride_s
        looks = math.ceil(stride_s / _LOOK_S)
        self._looks = Beat(stride_s / looks, time_s)
        self._sampling = Beat(stride_s, time_s)

    def _restart(self, time_s: float, picture: Picture) -> None:
        self._live.clear()
        self._camera = STILL
        self._lost.clear()
        self._start_beats(time_s)
        self._background = background_points(picture)

    def _rest(self) -> None:
        """Nothing changed: all stand where they stood."""
        self._camera, self._clear = STILL, True
        for track in self._live:
            track.velocity = (0.0, 0.0)

    def _follow_all(self, previous: Picture, picture: Picture) -> bool:
        """Advance all tracks and the camera; False at a cut."""
        boxes = as_array([track.box for track in self._live]).astype(np.float32)
        grids = grid_points(boxes)
        speeds = np.array([track.velocity for track in self._live], np.float32).reshape(-1, 1, 2)
        points = np.concatenate([self._background, grids.reshape(-1, 2)])
        expected = np.concatenate(
            [moved_by(self._camera, self._background), (grids + speeds).reshape(-1, 2)]
        )
        followed = self._engine.follow(previous.gray, picture.gray, points, expected)
        background, things = followed.split(len(self._background))
        kept = background.kept
        share = float(kept.mean()) if len(kept) >= _FEW else _UNKNOWN
        if is_cut(previous.gray, picture.gray, share):
            return False
        found = camera_motion(self._background[kept], background.after[kept])
        self._camera, agreeing = found if found else (STILL, 1.0)
        self._clear = agreeing >= _CLEAR
        self._background = background.after[kept]
        if self._live:
            cells = np.stack([track.cells for track in self._live])
            went = advance(grids, things.of_tracks(len(boxes)), cells, self._camera)
            if not went.found.all():
                there = self._engine.dense_flow(previous.coarse, picture.coarse)
                back = self._engine.dense_flow(picture.coarse, previous.coarse)
                area = follow_area(there, back, grids / np.float32(STEP)).scaled(STEP)
                went = went.or_else(advance(grids, area, cells, self._camera, may_rest=False))
            self._advance(boxes, went)
        return True

    def _advance(self, boxes: Points, went: Advance) -> None:
        centers = (boxes[:, :2] + boxes[:, 2:]) / 2
        shift = centers + went.step - moved_by(self._camera, centers)
        alive = []
        for index, track in enumerate(self._live):
            if not went.found[index]:
                self._lose(track, "tracks lost")
                continue
            step, drift = went.step[index].tolist(), shift[index].tolist()
            track.move((step[0], step[1]), float(went.scale[index]), float(went.error[index]))
            track.shift = (track.shift[0] + drift[0], track.shift[1] + drift[1])
            track.cells = went.cells[index]
            alive.append(track)
        self._live = alive

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
        boxes = as_array([track.box for track in self._live])
        inside = intersections(boxes, boxes) > _TWICE * areas(boxes)[:, None]
        gone = {}
        for index, track in enumerate(self._live):
            older = (self._live[i] for i in np.flatnonzero(inside[index, :index]))
            if time_s - track.moved_s > _REST_S:
                gone[track.number] = "tracks that came to rest"
            elif any(_together(track, other) for other in older):
                gone[track.number] = "tracks that met another"
        self._drop(gone)

    def _look(self, previous: Picture, picture: Picture, time_s: float) -> None:
        """Find what moves: correct the live tracks by it and begin new ones."""
        points = background_points(picture)
        moving = find_moving(previous, picture, self._camera, self._engine) if self._clear else None
        if moving is None:
            self._tally.reject("looks with unclear camera motion")
            self._background = points
            return
        column, row = (points / STEP).astype(np.intp).T
        self._background = points[~moving.mask[row, column]]
        free = self._correct(moving, picture.gray)
        self._drop_idle(time_s)
        self._begin(free, picture.gray, moving, time_s)

    def _correct(self, moving: Moving, gray: GrayImage) -> list[Box]:
        """Draw each track to the piece that fits it; return the pieces that fit none."""
        tracks, pieces = as_array([track.box for track in self._live]), as_array(moving.boxes)
        track_areas, piece_areas = areas(tracks)[:, None], areas(pieces)[None]
        shared = intersections(tracks, pieces)
        iou = shared / (track_areas + piece_areas - shared)
        holds = shared > _MERGED * track_areas  # which tracks a piece belongs to
        of_others = holds.sum(axis=0)[None] - holds > 0
        alike = (iou >= _SAME_BOX) | (shared > _WHOLE * track_areas)
        part = shared > _WHOLE * piece_areas
        taken = set()
        for index, track in enumerate(self._live):
            best = int(iou[index].argmax()) if moving.boxes else -1
            track.activity = moving.share(track.box)
            track.fit = float(iou[index, best]) if best >= 0 else 0.0
            if best < 0 or best in taken or of_others[index, best]:
                continue
            # A leg that moves while the rest stands still is no reason to see only the leg.
            if alike[index, best] or (part[index, best] and track.travels):
                taken.add(best)
                track.correct(moving.boxes[best], _TRUST)
                track.look = Look.at(gray, track.box)
                track.activity = moving.share(track.box)
        return [box for index, box in enumerate(moving.boxes) if index not in taken]

    def _begin(self, free: list[Box], gray: GrayImage, moving: Moving, time_s: float) -> None:
        """Begin tracks of the pieces that no track covers, largest first."""
        for box in free:
            if self._is_known(box):
                continue
            if min(box.width, box.height) * self._zoom < self._settings.min_box_pixels:
                self._tally.reject("things too small")
                continue
            look = Look.at(gray, box)
            if look.contrast < PLAIN:
                self._tally.reject("things without texture")
                continue
            number = self._number(box, time_s)
            self._live.append(LiveTrack(number, box, time_s, moving.velocity(box), look))

    def _is_known(self, box: Box) -> bool:
        piece, tracks = as_array([box]), as_array([track.box for track in self._live])
        smaller = np.minimum(areas(piece)[:, None], areas(tracks)[None])
        return bool((intersections(piece, tracks) > _COVERED * smaller).any())

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
            before, track.look = track.look, Look.at(gray, track.box)
            if before.likeness(track.look) < _ALIKE:
                gone[track.number] = "tracks that changed their look"
        self._drop(gone)

    def _note_motion(self, time_s: float) -> None:
        """Take down which tracks have moved since their last sample, or move on the spot."""
        enough = self._settings.min_travel / SAMPLES_PER_GAP
        for track in self._live:
            if math.hypot(*track.travel) >= enough or track.activity >= ACTIVE:
                track.moved_s = time_s

    def _samples(self, frame: ShownFrame) -> Iterator[TrackSample]:
        for track in self._live:
            yield self._sample(track, frame)

    def _sample(self, track: LiveTrack, frame: ShownFrame) -> TrackSample:
        width, height = frame.width, frame.height
        step = None
        if track.sampled:
            step = Step(track.error, track.travel, track.activity, track.fit)
        track.sampled, track.error, track.shift = True, 0.0, (0.0, 0.0)
        box = track.box.scaled(self._zoom)
        inside = Box(max(0, box.x0), max(0, box.y0), min(width, box.x1), min(height, box.y1))
        cutting = Cutting(frame, box, self._settings.patch_pixels)
        sighting = Sighting(round(frame.time_s, 3), inside.rounded())
        return TrackSample(track.number, sighting, cutting, track.look, step)


def _together(track: LiveTrack, older: LiveTrack) -> bool:
    """Whether a track that lies in another moves with it: a part, and no thing of its own."""
    (x, y), (older_x, older_y) = track.velocity, older.velocity
    apart = max(abs(x - older_x), abs(y - older_y))
    return apart < _TOGETHER_PX + 0.3 * max(abs(older_x), abs(older_y))
