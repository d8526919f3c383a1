"""Real clips with known truth, through mining's moving regions into the index and out again."""

import pytest

from indexes.build.build import build
from indexes.search.index import open_index
from toolkit.embedding import embed_images
from toolkit.errors import InputError
from toolkit.images import crop_patch
from toolkit.mining.work.run import mine
from toolkit.records import Box
from toolkit.video.decode import frame_at


def best_overlap(clip, time_s, box):
    """(IoU, number) of the sprite that a box shows best at that time."""
    truth = enumerate(clip.boxes(time_s))
    return max((box.iou(there), number) for number, there in truth if there is not None)


@pytest.fixture
def indexed(tmp_path, truth_clip, embedder):
    build(tmp_path / "index", [truth_clip.path], embedder)
    return tmp_path / "index"


def test_the_boxes_of_an_indexed_clip_lie_on_its_sprites(indexed, truth_clip, rows):
    found = rows(indexed, "SELECT time_s, x0, y0, x1, y1, track FROM patches")
    assert len(found) >= 6
    overlaps = [best_overlap(truth_clip, t, Box(*box)) for t, *box, _ in found]
    assert sorted(overlap for overlap, _ in overlaps)[len(overlaps) // 2] > 0.5
    assert {number for _, number in overlaps} == {0, 1, 2}


def test_a_crop_of_a_sprite_finds_that_sprite(indexed, truth_clip, embedder):
    with open_index(indexed) as index:
        for number in range(3):
            crop = crop_patch(frame_at(truth_clip.path, 1.0), truth_clip.boxes(1.0)[number])
            hit = index.search(embed_images(embedder, [crop])[0], 1)[0]
            assert best_overlap(truth_clip, hit.place.time_s, Box(*hit.place.box))[1] == number
            assert hit.place.source == str(truth_clip.path)


def test_a_cut_clip_is_indexed_as_far_as_it_goes_and_is_told(tmp_path, cut_clip, embedder):
    report = build(tmp_path / "index", [cut_clip], embedder)
    assert report.vectors > 0
    assert [q.path for q in report.quarantined] == [str(cut_clip)]
    assert "cut" in report.quarantined[0].reason


def test_a_clip_with_nothing_moving_and_a_text_file_give_nothing(
    tmp_path, still_clip, text_clip, embedder
):
    with pytest.raises(InputError, match="nothing to index"):
        build(tmp_path / "index", [still_clip], embedder)
    with pytest.raises(InputError, match=r"nothing to index .* is no video that can be read"):
        build(tmp_path / "index", [text_clip], embedder)


def test_a_clip_and_the_shard_mined_from_it_share_their_patches(
    tmp_path, moving_clip, embedder, rows
):
    mine([moving_clip], tmp_path / "patches")
    build(tmp_path / "index", [tmp_path / "patches"], embedder)
    before = rows(tmp_path / "index", "SELECT track, time_s, x0, y0, x1, y1 FROM patches")
    assert len(before) >= 6
    report = build(tmp_path / "index", [moving_clip], embedder)
    assert (report.added, report.vectors) == (1, 0)
    assert rows(tmp_path / "index", "SELECT kind, camera FROM sources") == [
        ("video", moving_clip.stem)
    ]
