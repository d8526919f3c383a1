"""A video is forgotten: its pairs are gone, the others stay, and it does not come back alone."""

import shutil
from pathlib import Path

import pytest

from toolkit.errors import InputError, StorageError, UsageError
from toolkit.lock import writing
from toolkit.mining.work.forget import forget
from toolkit.mining.work.ledger import Ledger
from toolkit.mining.work.run import How, mine
from toolkit.patches.shards import read_pairs
from toolkit.workspace import sha256_file


@pytest.fixture(scope="module")
def mined(clips, settings, segment_s, tmp_path_factory):
    """OUT with the clips in it, and a folder with the clips themselves."""
    folder = tmp_path_factory.mktemp("forget")
    shutil.copytree(clips, folder / "videos")
    mine([folder / "videos"], folder / "p", settings, None, How(segment_s=segment_s))
    return folder


@pytest.fixture
def out(mined, tmp_path):
    return Path(shutil.copytree(mined / "p", tmp_path / "p"))


@pytest.fixture
def videos(mined):
    return mined / "videos"


def paths(out):
    return {Path(stored.pair.path).name for stored in read_pairs(out)}


@pytest.mark.parametrize("by", ["path", "relative path", "digits", "all digits", "capitals"])
def test_a_forgotten_video_is_gone_and_the_others_stay(
    by, out, videos, content, tmp_path, monkeypatch
):
    sha256 = sha256_file(videos / "b.mp4")
    before = content(out)
    monkeypatch.chdir(videos.parent)
    name = {
        "path": str(videos / "b.mp4"),
        "relative path": "videos/b.mp4",
        "digits": sha256[:8],
        "all digits": sha256,
        "capitals": sha256[:12].upper(),
    }[by]
    [gone] = forget(out, [name])
    assert (gone.sha256, gone.path) == (sha256, str(videos / "b.mp4"))
    assert gone.pairs > 0
    assert paths(out) == {"a.mp4", "c.mp4"}
    after = content(out)
    assert set(before) - set(after) == {f"{sha256[:16]}.tar"}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"ledger/{sha256}.json"}
    assert [entry.sha256 for entry in Ledger(out).forgotten()] == [sha256]
    assert sha256 not in [entry.sha256 for entry in Ledger(out).entries()]


def test_a_video_that_is_no_longer_there_is_forgotten_by_its_path(
    clips, settings, segment_s, tmp_path
):
    shutil.copytree(clips, tmp_path / "videos")
    mine([tmp_path / "videos"], tmp_path / "p", settings, None, How(segment_s=segment_s))
    (tmp_path / "videos" / "b.mp4").unlink()
    forget(tmp_path / "p", [str(tmp_path / "videos" / "b.mp4")])
    assert paths(tmp_path / "p") == {"a.mp4", "c.mp4"}


def test_it_stays_out_until_it_is_asked_for_by_name(out, videos, settings, segment_s):
    how, again = How(segment_s=segment_s), How(segment_s=segment_s, remine=True)
    everything = paths(out)
    forget(out, [str(videos / "b.mp4")])
    kept = mine([videos], out, settings, None, how)
    assert (kept.videos, len(kept.skipped), kept.forgotten) == (0, 2, [str(videos / "b.mp4")])
    assert kept.total_pairs == len(read_pairs(out))
    named = mine([videos / "b.mp4"], out, settings, None, how)
    assert (named.videos, len(named.forgotten)) == (0, 1)
    others = mine([videos], out, settings, None, again)
    assert (others.videos, len(others.forgotten)) == (2, 1)
    assert paths(out) == {"a.mp4", "c.mp4"}
    back = mine([videos / "b.mp4"], out, settings, None, again)
    assert (back.videos, back.forgotten) == (1, [])
    assert paths(out) == everything
    assert Ledger(out).forgotten() == []


def test_several_are_forgotten_at_once_or_none(out, videos, content):
    before = content(out)
    with pytest.raises(InputError, match=r"No video nowhere\.mp4 was mined"):
        forget(out, [str(videos / "b.mp4"), "nowhere.mp4"])
    assert content(out) == before
    gone = forget(
        out, [str(videos / "b.mp4"), sha256_file(videos / "b.mp4"), str(videos / "a.mp4")]
    )
    assert len(gone) == 2
    assert paths(out) == {"c.mp4"}


def test_an_unknown_name_is_told_what_there_is(out, videos):
    with pytest.raises(InputError) as caught:
        forget(out, ["gate.mp4"])
    for clip in videos.iterdir():
        assert f"{sha256_file(clip)[:12]} {clip}" in caught.value.problem
    forget(out, [str(clip) for clip in videos.iterdir()])
    with pytest.raises(InputError, match="There is none"):
        forget(out, ["gate.mp4"])


def test_a_name_that_means_two_is_refused(out, videos, settings, segment_s, tmp_path):
    path = tmp_path / "same.mp4"
    for clip in ("a.mp4", "c.mp4"):  # the file was replaced after it had been mined
        shutil.copy(videos / clip, path)
        fresh = tmp_path / "q"
        mine([path], fresh, settings, None, How(segment_s=segment_s))
    path.unlink()
    with pytest.raises(UsageError, match="means several videos"):
        forget(tmp_path / "q", [str(path)])


def test_forgetting_again_does_nothing_more(out, videos, content):
    forget(out, [str(videos / "b.mp4")])
    before = content(out)
    [again] = forget(out, [str(videos / "b.mp4")])
    assert again.pairs == 0
    assert content(out) == before


def test_what_was_mined_in_part_is_forgotten_too(clips, settings, segment_s, tmp_path, monkeypatch):
    from toolkit.mining.work import unit

    real, done = unit.mined_pairs, []

    def stopped(*given):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(given)
        return real(*given)

    monkeypatch.setattr(unit, "mined_pairs", stopped)
    out = tmp_path / "p"
    with pytest.raises(KeyboardInterrupt):
        mine([clips], out, settings, None, How(segment_s=segment_s))
    monkeypatch.undo()
    assert list((out / ".parts").rglob("*.tar"))
    [gone] = forget(out, [str(clips / "a.mp4")])
    assert (gone.path, gone.pairs) == (str(clips / "a.mp4"), 0)
    assert not (out / ".parts").exists()
    assert mine([clips], out, settings, None, How(segment_s=segment_s)).videos == 2


def test_nothing_is_forgotten_where_nothing_was_mined_or_somebody_mines(out, videos, tmp_path):
    with pytest.raises(InputError, match="Nothing was mined into"):
        forget(tmp_path / "other", ["a.mp4"])
    assert not (tmp_path / "other").exists()
    with writing(out, "x"), pytest.raises(StorageError, match="Another vr"):
        forget(out, [str(videos / "b.mp4")])
