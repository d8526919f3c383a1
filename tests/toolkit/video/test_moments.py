"""Single frames by the second, against one pass over the whole video."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import VideoError
from toolkit.video.decode import frames
from toolkit.video.moments import moment_of, moments_of


@pytest.fixture
def flat_clip(tmp_path: Path, encode_clip: Any) -> Path:
    """Five flat gray frames at uneven times: the picture tells which frame it is."""
    path = tmp_path / "flat.mp4"
    pictures = [np.full((48, 64, 3), level, np.uint8) for level in (40, 80, 120, 160, 200)]
    encode_clip(path, pictures, [0.0, 0.1, 0.5, 0.55, 2.0])
    return path


@pytest.mark.parametrize("first_s", [0.0, 0.33, 1.71])
def test_they_are_the_frames_of_one_pass(moving_clip: Path, first_s: float) -> None:
    every = [(frame.time_s, frame.rgb()) for frame in frames(moving_clip)]
    times_s = [first_s + 0.37 * step for step in range(5)]
    for time_s, found in zip(times_s, moments_of(moving_clip, times_s), strict=True):
        shown_s, picture = [one for one in every if one[0] <= time_s + 1e-3][-1]
        assert found is not None
        assert found[0] == pytest.approx(shown_s, abs=1e-6)
        assert np.array_equal(found[1], picture)


def test_uneven_times(flat_clip: Path) -> None:
    found = moments_of(flat_clip, [0.05, 0.1, 0.3, 0.54, 1.9, 2.0])
    levels = [float(moment[1].mean()) for moment in found if moment]
    assert levels == pytest.approx([40, 80, 80, 120, 160, 200], abs=3)
    assert [moment[0] for moment in found if moment] == pytest.approx(
        [0.0, 0.1, 0.1, 0.5, 0.55, 2.0], abs=1e-3
    )


def test_before_the_start_and_after_the_end_there_is_none(flat_clip: Path) -> None:
    found = moments_of(flat_clip, [-2.0, -0.1, 0.0, 60.0, 61.0])
    assert [moment is None for moment in found] == [True, True, False, True, True]


def test_no_times_give_no_frames(flat_clip: Path) -> None:
    assert moments_of(flat_clip, []) == []


@pytest.mark.parametrize("time_s", [-0.5, 30.0])
def test_a_moment_outside_is_an_error_that_names_the_span(flat_clip: Path, time_s: float) -> None:
    with pytest.raises(VideoError, match="no frame at") as caught:
        moment_of(flat_clip, time_s)
    assert "from 0.00 to" in caught.value.mend


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(b"no video at all")
    with pytest.raises(VideoError, match=r"x\.mp4"):
        moment_of(tmp_path / "x.mp4", 0.0)
