"""Each patch is encoded once, and what comes out is what encoding it afresh gives."""

import numpy as np
import pytest

from toolkit.images import encode_jpeg
from toolkit.mining.mined import View
from toolkit.mining.work import encode
from toolkit.mining.work.encode import Encoder
from toolkit.patches.phash import perceptual_hash
from toolkit.records import Box, Sighting


def _view(track: int, time_s: float) -> View:
    patch = np.random.default_rng([track, round(time_s * 10)]).integers(0, 256, (20, 30, 3))
    return View(track, Sighting(time_s, Box(0, 0, 30, 20)), patch.astype(np.uint8))


def test_views_come_out_as_encoded_afresh_in_any_order() -> None:
    encoder = Encoder(90)
    for track, time_s in [(0, 0.0), (1, 0.0), (0, 0.8), (0, 0.0), (1, 0.8), (0, 0.8), (1, 0.0)]:
        view = _view(track, time_s)
        encoded = encoder.encode(view)
        assert encoded.jpeg == encode_jpeg(view.patch, quality=90)
        assert encoded.phash == perceptual_hash(view.patch)


def test_a_view_met_again_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(90)
    first = encoder.encode(_view(0, 0.0))
    monkeypatch.setattr(encode, "encode_jpeg", None)
    assert encoder.encode(_view(0, 0.0)) is first


def test_few_views_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_RECENT", 2)
    encoder = Encoder(90)
    first = encoder.encode(_view(0, 0.0))
    encoder.encode(_view(1, 0.0))
    assert encoder.encode(_view(0, 0.0)) is first  # used again, and so the newest
    encoder.encode(_view(2, 0.0))
    assert encoder.encode(_view(0, 0.0)) is first
    assert encoder.encode(_view(1, 0.0)).jpeg  # was forgotten, and is encoded again
