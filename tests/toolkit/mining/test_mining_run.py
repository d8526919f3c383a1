"""The run with its ledger: once each, the same bytes, and what cannot be read set aside."""

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.errors import InputError, MismatchError, StorageError
from toolkit.mining.settings import MiningSettings
from toolkit.mining.work.ledger import Ledger
from toolkit.mining.work.run import How, MiningProgress, mine
from toolkit.patches.shards import read_pairs
from toolkit.workspace import sha256_file


def _content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def mined(moving_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mined") / "patches"
    mine([moving_clip], out)
    return out


@pytest.fixture
def out(mined: Path, tmp_path: Path) -> Path:
    """A folder of its own in which moving_clip has been mined."""
    return Path(shutil.copytree(mined, tmp_path / "patches"))


def test_pairs_are_stored_with_their_record(mined: Path, moving_clip: Path) -> None:
    sha256 = sha256_file(moving_clip)
    stored = read_pairs(mined)
    entry = Ledger(mined).get(sha256)
    assert entry is not None
    assert (entry.status, entry.pairs, entry.frames) == ("done", len(stored), 90)
    assert len(stored) > 30
    pair = stored[0].pair
    assert (pair.video, pair.path, pair.camera) == (sha256, str(moving_clip), "moving")
    assert pair.track.startswith(sha256[:12] + "-")
    assert pair.key == f"{pair.track}-{round(pair.query.time_s * 1000):08d}"
    assert stored[0].read_query().shape[2] == 3


def test_the_report_counts_this_run(moving_clip: Path, still_clip: Path, tmp_path: Path) -> None:
    report = mine([moving_clip, still_clip], tmp_path / "p")
    assert (report.videos, report.frames, report.quarantined, report.skipped) == (2, 135, [], [])
    assert report.pairs == report.total_pairs == len(read_pairs(tmp_path / "p"))
    assert report.frames_per_second > 0


def test_a_second_run_does_nothing(out: Path, moving_clip: Path) -> None:
    before = _content(out)
    report = mine([moving_clip], out)
    assert _content(out) == before
    assert (report.videos, report.pairs) == (0, 0)
    assert report.skipped == [str(moving_clip)]
    assert report.total_pairs == len(read_pairs(out))


def test_a_copy_under_another_name_is_the_same_video(
    out: Path, moving_clip: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.mp4"
    shutil.copy(moving_clip, copy)
    before = _content(out)
    report = mine([copy], out)
    assert (report.videos, len(report.skipped)) == (0, 1)
    assert _content(out) == before


def test_two_copies_in_one_run_are_mined_once(moving_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(moving_clip, folder / name)
    report = mine([folder], tmp_path / "p")
    assert report.videos == 1
    assert len({stored.pair.key for stored in read_pairs(tmp_path / "p")}) == report.pairs


def test_killed_between_shard_and_ledger_it_writes_the_same_bytes(
    out: Path, moving_clip: Path
) -> None:
    before = _content(out)
    next((out / "ledger").iterdir()).unlink()
    assert mine([moving_clip], out).videos == 1
    assert _content(out) == before


def test_killed_while_writing_the_shard_it_writes_the_same_bytes(
    out: Path, moving_clip: Path
) -> None:
    before = _content(out)
    next((out / "ledger").iterdir()).unlink()
    shard = next(out.glob("*.tar"))
    shard.rename(out / f".{shard.name}.draft")  # what atomic_file leaves when it is killed
    mine([moving_clip], out)
    (out / f".{shard.name}.draft").unlink()
    assert _content(out) == before


def test_a_deleted_shard_is_mined_again(out: Path, moving_clip: Path) -> None:
    before = _content(out)
    next(out.glob("*.tar")).unlink()
    mine([moving_clip], out)
    assert _content(out) == before


def test_new_videos_touch_nothing_old(out: Path, moving_clip: Path, cut_clip: Path) -> None:
    before = _content(out)
    mine([moving_clip, cut_clip], out)
    after = _content(out)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 2


def test_other_settings_are_told_and_kept(out: Path, moving_clip: Path) -> None:
    before = _content(out)
    settings = MiningSettings(gap_s=1.2)
    report = mine([moving_clip], out, settings)
    assert report.other_settings == [str(moving_clip)]
    assert _content(out) == before
    again = mine([moving_clip], out, settings, how=How(remine=True))
    assert (again.videos, again.other_settings) == (1, [])
    gap_s = [s.pair.positive.time_s - s.pair.query.time_s for s in read_pairs(out)]
    assert sorted(gap_s)[len(gap_s) // 2] == pytest.approx(1.2, abs=0.1)


def test_a_cut_video_keeps_its_pairs_and_is_listed(cut_clip: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time from the ledger
        report = mine([cut_clip], tmp_path / "p")
        assert [q.path for q in report.quarantined] == [str(cut_clip)]
        assert "the file is cut" in report.quarantined[0].reason
    assert report.total_pairs == len(read_pairs(tmp_path / "p")) > 5
    entry = Ledger(tmp_path / "p").get(sha256_file(cut_clip))
    assert entry is not None
    assert entry.status == "partial"


def test_a_text_file_named_mp4_is_quarantined_and_the_rest_goes_on(
    text_clip: Path, moving_clip: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    report = mine([text_clip, empty, moving_clip], tmp_path / "p")
    reasons = {q.path: q.reason for q in report.quarantined}
    assert "no video that can be read" in reasons[str(text_clip)]
    assert "is empty" in reasons[str(empty)]
    assert report.pairs > 30
    assert len(list((tmp_path / "p").glob("*.tar"))) == 1


@pytest.mark.parametrize("size", [(8, 8), (2, 2), (2, 640), (640, 2), (20, 1000)])
def test_a_video_that_is_too_small_is_quarantined_and_the_rest_goes_on(
    size: tuple[int, int], encode_clip: Any, moving_clip: Path, tmp_path: Path
) -> None:
    tiny = tmp_path / "tiny.mp4"
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (12, *size, 3), np.uint8)
    encode_clip(tiny, list(pictures), [i / 10 for i in range(12)])
    report = mine([tiny, moving_clip], tmp_path / "p")
    assert [q.path for q in report.quarantined] == [str(tiny)]
    assert f"too small: {size[1]}x{size[0]}" in report.quarantined[0].reason
    assert report.pairs > 30


def test_a_video_that_opencv_cannot_analyse_is_quarantined_and_the_rest_goes_on(
    moving_clip: Path, still_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import cv2

    from toolkit.mining.modern.tracker import Tracker

    tick = Tracker.tick

    def break_late(self: Tracker, frame: Any, gray: Any) -> Iterator[Any]:
        if frame.time_s > 4:  # moving_clip only: still_clip is shorter
            cv2.resize(gray, (0, 0))
        return tick(self, frame, gray)

    monkeypatch.setattr(Tracker, "tick", break_late)
    report = mine([moving_clip, still_clip], tmp_path / "p")
    assert report.videos == 2
    assert [q.path for q in report.quarantined] == [str(moving_clip)]
    assert "cannot be analysed at 4." in report.quarantined[0].reason
    assert list((tmp_path / "p").glob("*.tar")) == []


def test_a_damaged_video_is_mined_to_the_same_bytes(damaged_clip: Path, tmp_path: Path) -> None:
    contents = []
    for name in ("a", "b", "c"):
        mine([damaged_clip], tmp_path / name)
        contents.append(_content(tmp_path / name))
    assert any(name.endswith(".tar") for name in contents[0])
    assert contents[1:] == contents[:1] * 2


def test_a_folder_that_may_not_be_read_is_listed_and_the_rest_goes_on(
    moving_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips" / "locked").mkdir(parents=True)
    shutil.copy(moving_clip, tmp_path / "clips")
    listed = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    report = mine([tmp_path / "clips"], tmp_path / "p")
    assert [q.path for q in report.quarantined] == [str(tmp_path / "clips" / "locked")]
    assert "Permission denied" in report.quarantined[0].reason
    assert report.videos == 1
    with pytest.raises(InputError, match="no video that may be read"):
        mine([tmp_path / "clips" / "locked"], tmp_path / "p")


def test_a_still_video_is_done_with_no_pairs(still_clip: Path, tmp_path: Path) -> None:
    report = mine([still_clip], tmp_path / "p")
    assert (report.videos, report.pairs, report.quarantined) == (1, 0, [])
    assert list((tmp_path / "p").glob("*.tar")) == []
    assert mine([still_clip], tmp_path / "p").videos == 0


def test_remining_to_nothing_removes_the_shard(out: Path, moving_clip: Path) -> None:
    mine([moving_clip], out, MiningSettings(min_box_pixels=200), how=How(remine=True))
    assert list(out.glob("*.tar")) == []


def test_no_video_at_all_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no video in") as caught:
        mine([tmp_path], tmp_path / "p")
    assert ".mp4" in caught.value.mend


def test_a_file_in_the_way_of_the_target_is_a_storage_error(
    moving_clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "p").write_text("in the way")
    with pytest.raises(StorageError, match="Cannot write"):
        mine([moving_clip], tmp_path / "p")


def test_a_damaged_ledger_entry_is_told(out: Path, moving_clip: Path) -> None:
    next((out / "ledger").iterdir()).write_text("{")
    with pytest.raises(MismatchError, match="ledger entry"):
        mine([moving_clip], out)


def test_a_ledger_of_another_version_is_told(out: Path, moving_clip: Path) -> None:
    path = next((out / "ledger").iterdir())
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(MismatchError, match="another version"):
        mine([moving_clip], out)


def test_progress_runs_to_the_end_over_all_videos(
    moving_clip: Path, still_clip: Path, tmp_path: Path
) -> None:
    told: list[MiningProgress] = []
    report = mine([moving_clip, still_clip], tmp_path / "p", on_progress=told.append)
    done = [progress.done_s for progress in told]
    assert done == sorted(done)
    assert told[-1].total_s == pytest.approx(9.0, abs=0.2)
    assert told[-1].done_s == pytest.approx(told[-1].total_s)
    assert told[-1].pairs == report.pairs
    assert {progress.video for progress in told} == {moving_clip.name, still_clip.name}


def test_a_contact_sheet_shows_the_worst_first(mined: Path, tmp_path: Path) -> None:
    from PIL import Image

    from toolkit.mining.audit.contact_sheet import choose, write_contact_sheet

    pairs: Any = read_pairs(mined)
    chosen = choose(pairs, 10)
    scores = [stored.pair.quality.score for stored in chosen]
    everything = [stored.pair.quality.score for stored in pairs]
    assert len(chosen) == 10
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (min(everything), max(everything))
    target = tmp_path / "sheet.png"
    write_contact_sheet(pairs, target, limit=10, columns=5)
    with Image.open(target) as sheet:
        assert sheet.size[0] > 5 * 256
    write_contact_sheet(pairs[:1], target)
    assert choose(pairs[:1], 10) == pairs[:1]
    with pytest.raises(InputError, match="no pairs"):
        write_contact_sheet([], target)
