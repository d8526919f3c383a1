"""A key that cannot be made is refused before anything is embedded, and never remembered."""

import json

import pytest

from indexes.build.budget import Wish
from indexes.build.build import build
from indexes.build.compact import CompactSettings, compact
from indexes.build.planning import plan_build
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.info import info
from indexes.plan.budget import Budget
from indexes.sources import Cut, Reading
from toolkit.errors import InputError, UsageError

IN_PARTS = Reading(cut=Cut(grids=((2, 2),)))  # how many patches that gives, only reading tells
WRONG = ["Nonsense", "PQ8", "IVF2,PQ7", "HNSW1", "IVF2_HNSW0,Flat", "PCA17,IVF2,Flat",
         "OPQ3_8,IVF2,PQ4", "IVF1,Flat", "ivf4,flat"]  # fmt: skip
TOO_FEW = ["IVF12,Flat", "IVF2,PQ4", "OPQ2_8,IVF2,Flat"]


def with_key(key, **settings):
    return BuildSettings(wish=Wish(key=key), **settings)


def kept_key(index):
    return info(index).wish.key


@pytest.mark.parametrize("key", WRONG + TOO_FEW)
def test_what_can_be_known_is_refused_before_a_picture_is_read(tmp_path, pictures, embedder, key):
    paths, index = pictures(12), tmp_path / "index"
    for refused in (
        lambda: build(index, paths, embedder, with_key(key)),
        lambda: plan_build(index, paths, embedder.card, with_key(key)),
    ):
        with pytest.raises(UsageError, match="index key") as caught:
            refused()
        assert caught.value.mend
    assert embedder.seen == 0
    # A later build knows nothing of it.
    assert build(index, paths, embedder).vectors == 12
    assert kept_key(index) is None
    with pytest.raises(UsageError, match="index key"):
        compact(index, CompactSettings(wish=Wish(key=key)))
    assert kept_key(index) is None
    assert verify(index).problems == ()


@pytest.mark.parametrize("key", WRONG)
def test_a_key_alone_is_judged_however_many_come(tmp_path, pictures, embedder, key):
    settings = with_key(key, reading=IN_PARTS)
    with pytest.raises(UsageError, match="index key"):
        build(tmp_path / "index", pictures(3), embedder, settings)
    assert embedder.seen == 0


def test_where_only_reading_tells_all_that_was_embedded_stays(tmp_path, pictures, embedder):
    paths, index = pictures(3), tmp_path / "index"
    with pytest.raises(UsageError, match="12 vectors are too few") as caught:
        build(index, paths, embedder, with_key("IVF12,Flat", reading=IN_PARTS))
    assert "is in the index" in caught.value.mend
    made = info(index)
    assert (made.vectors, made.kind, made.wish) == (12, "flat", Wish())
    assert build(index, paths, embedder, BuildSettings(reading=IN_PARTS)).skipped == 3
    assert verify(index).problems == ()


def test_a_copy_counts_once_and_the_build_says_so_in_the_end(tmp_path, pictures, embedder):
    """By its name it is another source; that it is none, its bytes tell."""
    paths = pictures(14)
    copies = [path.with_name(f"copy-{path.name}") for path in paths[:6]]
    for path, copy in zip(paths, copies, strict=False):
        copy.write_bytes(path.read_bytes())
    with pytest.raises(UsageError, match="14 vectors are too few"):
        build(tmp_path / "index", [*paths, *copies], embedder, with_key("IVF16,Flat"))
    assert info(tmp_path / "index").vectors == 14


def test_what_came_true_is_kept_and_only_that(tmp_path, pictures, embedder):
    index = tmp_path / "index"
    build(index, pictures(20), embedder, with_key("IVF4,Flat"))
    assert (info(index).kind, kept_key(index)) == ("ivf-flat", "IVF4,Flat")
    with pytest.raises(UsageError, match="20 vectors are too few"):
        build(index, pictures(20), embedder, with_key("IVF64,Flat"))
    assert kept_key(index) == "IVF4,Flat"
    little = BuildSettings(wish=Wish(Budget(latency_ms=1e-6)))
    with pytest.raises(InputError, match="No index fits"):
        build(index, pictures(20), embedder, little)
    assert kept_key(index) == "IVF4,Flat"
    build(index, pictures(20), embedder, BuildSettings(wish=Wish(Budget(recall=0.9))))
    assert info(index).wish == Wish(Budget(recall=0.9))


def test_an_interrupted_build_keeps_its_pictures_and_not_its_key(tmp_path, pictures, embedder):
    def stop(at):
        if at.phase == "training":
            raise KeyboardInterrupt

    index = tmp_path / "index"
    with pytest.raises(KeyboardInterrupt):
        build(index, pictures(20), embedder, with_key("IVF4,Flat"), on_progress=stop)
    made = info(index)
    assert (made.vectors, made.kind, made.wish) == (20, "flat", Wish())


def test_a_key_that_was_kept_waits_where_too_little_is_left(tmp_path, pictures, embedder, rows):
    index = tmp_path / "index"
    build(index, pictures(20), embedder, with_key("IVF16,Flat"))
    remove(index, ["*/000?.png"])
    report = build(index, pictures(range(10, 22)), embedder)
    (note,) = [text for text in report.notes if "for now" in text]
    assert "IVF16,Flat" in note
    assert "12 vectors are too few" in note
    made = info(index)
    assert (made.vectors, made.kind, made.removed) == (12, "flat", 0)
    assert made.wish.key == "IVF16,Flat"
    plan = compact(index).plan
    assert (plan.kind, plan.reasons) == ("flat", (note,))
    assert plan_build(index, pictures(1), embedder.card, BuildSettings()).plan.kind == "flat"
    # With enough of them it is made again, without being asked for.
    assert build(index, pictures(30), embedder).notes == ()
    assert info(index).kind == "ivf-flat"
    assert verify(index).problems == ()


def test_the_wish_is_one_transaction_with_the_index_that_it_made(
    tmp_path, pictures, embedder, rows
):
    """A reader of any commit sees both or neither."""
    index, seen = tmp_path / "index", []

    def look(at):
        query = "SELECT (SELECT value FROM meta WHERE key = 'budget'), max(kind) FROM segments"
        if at.phase != "reading" or at.vectors == 20:
            seen.append(rows(index, query)[0])

    build(index, pictures(20), embedder, with_key("IVF4,Flat"), on_progress=look)
    assert set(seen) == {(None, "flat")}
    ((wish, kind),) = rows(index, "SELECT value, (SELECT kind FROM segments) FROM meta "
                                  "WHERE key = 'budget'")  # fmt: skip
    assert (json.loads(wish)["key"], kind) == ("IVF4,Flat", "ivf-flat")
