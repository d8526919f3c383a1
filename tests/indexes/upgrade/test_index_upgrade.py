"""An index from one model to another: ids and labels stay, vectors are those of a new build."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from indexes.build.build import build
from indexes.build.compact import compact
from indexes.build.remove import remove
from indexes.build.settings import BuildSettings
from indexes.build.verify import verify
from indexes.folder.store import open_folder
from indexes.upgrade.settings import UpgradeSettings
from indexes.upgrade.upgrade import upgrade
from toolkit.errors import InputError, UsageError
from toolkit.lock import writing


def opened(index):
    store = open_folder(index)
    try:
        ids = [key for (key,) in store.catalog.rows("SELECT id FROM patches ORDER BY id")]
        places = store.places(ids)
        return store.card, places, dict(zip(ids, store.vectors_of(ids), strict=True))
    finally:
        store.close()


def by_place(places, vectors):
    return {
        (places[key].source, places[key].time_s, places[key].box, places[key].track): vectors[key]
        for key in places
    }


@pytest.fixture
def index(tmp_path, pictures, pair, shard, embedder):
    target = tmp_path / "index"
    tar = shard(tmp_path / "pairs.tar", [pair(n, (1.0, 2.0)) for n in range(30)])
    build(target, [*pictures(12), tar], embedder)
    return target


def test_ids_places_and_labels_stay_and_the_vectors_are_those_of_a_new_build(
    tmp_path, index, pictures, other_embedder
):
    with sqlite3.connect(index / "catalog.sqlite") as connection:
        connection.execute("INSERT INTO label_batches VALUES (1, 0, 'import', '{}')")
        connection.execute(
            "INSERT INTO labels (batch, patch, label, origin, confidence) "
            "VALUES (1, 3, 'three', 'given', 1)"
        )
    connection.close()
    _, places, before = opened(index)
    report = upgrade(index, other_embedder)
    card, after_places, after = opened(index)
    assert card.fingerprint == other_embedder.card.fingerprint == report.model
    assert after_places == places
    assert after_places[3].label == "three"
    assert (report.embedded, report.mapped, report.dropped) == (72, 0, 0)
    fresh = tmp_path / "fresh"
    build(fresh, [*pictures(12), tmp_path / "pairs.tar"], other_embedder)
    _, fresh_places, fresh_vectors = opened(fresh)
    expected = by_place(fresh_places, fresh_vectors)
    for place, vector in by_place(after_places, after).items():
        np.testing.assert_array_equal(vector, expected[place])
    assert not np.array_equal(after[3], before[3])
    assert not list(index.glob("upgrade-*"))
    build(index, [tmp_path / "pictures"], other_embedder)  # goes on with the new model


def test_the_same_model_again_is_refused(index, embedder):
    with pytest.raises(UsageError, match="already"):
        upgrade(index, embedder)


def test_no_index_is_refused(tmp_path, embedder):
    with pytest.raises(InputError, match="no index"):
        upgrade(tmp_path / "nothing", embedder)


def test_a_file_that_is_gone_is_refused_and_nothing_is_changed(tmp_path, index, other_embedder):
    (tmp_path / "pictures" / "0004.png").unlink()
    before = opened(index)
    with pytest.raises(InputError, match="1 of 72 patches cannot be embedded anew"):
        upgrade(index, other_embedder)
    card, places, vectors = opened(index)
    assert card == before[0]
    assert places == before[1]
    for key, vector in before[2].items():
        np.testing.assert_array_equal(vectors[key], vector)


def test_what_was_embedded_is_kept_for_the_next_call(tmp_path, index, pictures, other_embedder):
    gone = tmp_path / "pictures" / "0004.png"
    gone.rename(tmp_path / "aside.png")
    with pytest.raises(InputError):
        upgrade(index, other_embedder)
    (tmp_path / "aside.png").rename(gone)
    seen = other_embedder.seen
    assert upgrade(index, other_embedder).embedded == 72
    assert other_embedder.seen == seen + 1


def test_the_rest_is_dropped_on_request(tmp_path, index, other_embedder):
    (tmp_path / "pictures" / "0004.png").unlink()
    _, places, _ = opened(index)
    (lost,) = [key for key in places if places[key].source.endswith("0004.png")]
    report = upgrade(index, other_embedder, UpgradeSettings(rest="drop"))
    assert (report.embedded, report.dropped) == (71, 1)
    assert set(opened(index)[1]) == set(places) - {lost}


def test_the_rest_is_mapped_on_request_and_embedded_when_it_is_back(
    tmp_path, index, other_embedder
):
    shutil.copy(tmp_path / "pictures" / "0004.png", tmp_path / "aside.png")
    (tmp_path / "pictures" / "0004.png").unlink()
    report = upgrade(index, other_embedder, UpgradeSettings(rest="map"))
    assert (report.embedded, report.mapped) == (71, 1)
    assert report.quality is not None
    assert 0 <= report.quality.recall_loss <= 1
    assert len(opened(index)[1]) == 72
    shutil.copy(tmp_path / "aside.png", tmp_path / "pictures" / "0004.png")
    again = upgrade(index, other_embedder)
    assert (again.embedded, again.mapped) == (72, 0)
    with pytest.raises(UsageError):
        upgrade(index, other_embedder)


def test_map_first_embeds_a_sample_and_serves_the_new_model_at_once(
    tmp_path, pictures, embedder, other_embedder
):
    index = tmp_path / "index"
    build(index, pictures(120), embedder)
    report = upgrade(index, other_embedder, UpgradeSettings(map_first=True, sample=60))
    assert (report.embedded, report.mapped) == (60, 60)
    assert report.quality is not None
    assert other_embedder.seen == 60
    card, _, vectors = opened(index)
    assert card.fingerprint == other_embedder.card.fingerprint
    lengths = np.linalg.norm(np.stack(list(vectors.values())), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-5)
    whole = upgrade(index, other_embedder)
    assert (whole.embedded, whole.mapped) == (120, 0)
    assert other_embedder.seen == 120  # the sample is not embedded twice


def test_too_few_pairs_for_a_map(tmp_path, pictures, embedder, other_embedder):
    index = tmp_path / "index"
    paths = build(index, pictures(10), embedder) and sorted((tmp_path / "pictures").iterdir())
    paths[0].unlink()
    with pytest.raises(InputError, match="Only 9 patches"):
        upgrade(index, other_embedder, UpgradeSettings(rest="map"))


def test_every_file_gone(tmp_path, pictures, embedder, other_embedder):
    index = tmp_path / "index"
    build(index, pictures(3), embedder)
    shutil.rmtree(tmp_path / "pictures")
    for rest in ("refuse", "drop"):
        with pytest.raises(InputError, match="3 of 3 patches cannot be embedded anew"):
            upgrade(index, other_embedder, UpgradeSettings(rest=rest))
    assert len(opened(index)[1]) == 3


def test_a_sample_that_is_too_small_is_refused():
    with pytest.raises(UsageError, match="sample of 3"):
        UpgradeSettings(map_first=True, sample=3)


def test_an_empty_index_has_nothing_to_upgrade(tmp_path, pictures, embedder, other_embedder):
    index = tmp_path / "index"
    build(index, pictures(2), embedder)
    remove(index, ["*"])
    with pytest.raises(UsageError, match="is empty"):
        upgrade(index, other_embedder)


@pytest.fixture
def half_mapped(tmp_path, pictures, embedder, other_embedder):
    """An index that keeps its shadow: half is embedded anew, half is mapped."""
    index = tmp_path / "index"
    build(index, pictures(120), embedder)
    upgrade(index, other_embedder, UpgradeSettings(map_first=True, sample=60))
    (shadow,) = index.glob("upgrade-*")
    return index, shadow


def all_bytes(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_is_removed_leaves_the_shadow_too(half_mapped, other_embedder):
    index, shadow = half_mapped
    _, places, vectors = opened(shadow)
    chosen = min(places)
    with closing(open_folder(shadow)) as store:
        thumbnail = store.thumbnails([chosen])[chosen]
    traces = [vectors[chosen].tobytes(), thumbnail[-100:], places[chosen].source.encode()]
    assert all(trace in all_bytes(shadow) for trace in traces)
    remove(index, [places[chosen].source])
    _, after, kept = opened(shadow)
    assert set(after) == set(places) - {chosen}
    for key, vector in kept.items():
        np.testing.assert_array_equal(vector, vectors[key])
    assert verify(shadow).problems == ()
    assert not any(trace in all_bytes(shadow) for trace in traces)
    seen = other_embedder.seen
    assert upgrade(index, other_embedder).embedded == 119
    assert other_embedder.seen == seen + 60  # what is in the shadow is not embedded again


def test_a_shadow_that_is_being_filled_is_pruned_by_the_next_compaction(half_mapped):
    index, shadow = half_mapped
    _, places, _ = opened(shadow)
    source = places[min(places)].source
    with writing(shadow, "it"):
        remove(index, [source])
    assert len(opened(shadow)[1]) == 60
    compact(index)
    assert len(opened(shadow)[1]) == 59


def test_an_index_that_is_built_over_leaves_nothing_in_the_shadow(half_mapped, pictures, embedder):
    index, shadow = half_mapped
    build(index, pictures([500]), embedder, BuildSettings(overwrite=True))
    assert opened(shadow)[1] == {}
