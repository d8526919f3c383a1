"""The audit of a folder: figures against the records, pages that nothing can break out of."""

import ast
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import toolkit.mining
from toolkit.errors import ShardError
from toolkit.images import read_image
from toolkit.mining.audit.hints import hint
from toolkit.mining.audit.page import percent, span
from toolkit.mining.audit.report import write_audit
from toolkit.mining.audit.sample import judged_sample
from toolkit.mining.work.run import mine
from toolkit.pages import clock
from toolkit.patches.shards import read_pairs

HOSTILE = "</script><script>alert(1)</script>\"'&<img src=x onerror=alert(2)>\x1b\n\udcff"


_REASON = re.compile("cuts|(frames|looks|tracks|things|pairs) [a-z ]+")


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, and the text."""

    def __init__(self, content):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page(out):
    return Page((out / "contact_sheet.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def mined(moving_clip, still_clip, cut_clip, text_clip, tmp_path_factory):
    """Real clips mined: one whole, one in which nothing moves, one cut, one that is none."""
    out = tmp_path_factory.mktemp("audited")
    report = mine([moving_clip, still_clip, cut_clip, text_clip], out)
    return out, report, write_audit(out)


def test_the_figures_are_those_of_the_run_and_the_records(mined):
    out, report, audit = mined
    pairs = [stored.pair for stored in read_pairs(out)]
    assert (audit.frames, audit.tracks_begun) == (report.frames, report.tracks)
    assert audit.footage_s == pytest.approx(report.footage_s, abs=0.002)
    assert audit.rejected == dict(report.rejected)
    assert list(audit.rejected.values()) == sorted(audit.rejected.values(), reverse=True)
    assert audit.videos == {"done": 2, "partial": 1, "quarantined": 1}
    assert (audit.pairs, audit.tracks) == (len(pairs), len({pair.track for pair in pairs}))
    bins = Counter(min(9, int(10 * pair.quality.score)) for pair in pairs)
    assert audit.quality == tuple(bins[n] for n in range(10))
    by_video = Counter(pair.path for pair in pairs)
    assert {video.path: video.pairs for video in audit.by_video if video.pairs} == by_video
    assert [item.reason != "" for item in audit.not_whole] == [True, True]


def test_the_json_is_the_audit(mined):
    out, _, audit = mined
    content = json.loads((out / "audit.json").read_bytes())
    assert content["version"] == 1
    assert content["pairs"] == audit.pairs
    assert content["quality"] == list(audit.quality)
    assert content["false_pairs"]["rate"] is None  # six things are too few to tell
    assert content["false_pairs"].keys() == {
        "rate", "low", "high", "pairs", "tracks", "confidence", "method",
    }  # fmt: skip
    assert {video["status"] for video in content["by_video"]} == {"done", "partial", "quarantined"}


def test_the_same_pairs_give_the_same_bytes(mined):
    out, _, _ = mined
    names = ("audit.json", "contact_sheet.png", "contact_sheet.html")
    before = [(out / name).read_bytes() for name in names]
    write_audit(out)
    assert [(out / name).read_bytes() for name in names] == before


def test_the_page_shows_every_pair_the_worst_first(mined):
    out, _, audit = mined
    cards = [card for card in page(out).of("li") if "odd" not in (card.get("class") or "")]
    scores = [float(card["data-quality"]) for card in cards]
    assert scores == sorted(scores)
    assert len(page(out).of("li")) == audit.pairs
    assert "too few" in "".join(page(out).text)


def test_the_page_needs_nothing_beside_it_and_takes_nothing_in(things, store, tmp_path):
    hostile = [
        replace(seen, pair=replace(seen.pair, path=f"x/{HOSTILE}.mp4", camera=HOSTILE))
        for seen in things().pairs(3, 2)
    ]
    store(tmp_path / "a.tar", hostile)
    write_audit(tmp_path)
    seen = page(tmp_path)
    assert seen.of("script") == [{}]
    assert len(seen.of("img")) == 12
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in seen.of("img"))
    for tag, attributes in seen.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not {"href", "action", "srcset", "data"} & attributes.keys(), tag
        assert "http:" not in "".join(filter(None, attributes.values())), tag
    policy = next(m["content"] for m in seen.of("meta") if "http-equiv" in m)
    assert "default-src 'none'" in policy
    assert HOSTILE.replace("\udcff", "\\udcff") in "".join(seen.text)
    assert b"\x1b[" not in (tmp_path / "contact_sheet.html").read_bytes()


def test_doubtful_colours_come_first_and_are_marked(things, store, tmp_path):
    maker = things(2)
    store(tmp_path / "a.tar", maker.spoil(maker.pairs(20, 8), 0.1))
    audit = write_audit(tmp_path)
    cards = page(tmp_path).of("li")
    marked = ["odd" in (card.get("class") or "") for card in cards]
    assert 0.03 < audit.false_pairs.rate < 0.2
    assert sum(marked) == len(audit.false_pairs.suspects) > 5
    assert marked == sorted(marked, reverse=True)
    assert len(cards) == audit.pairs == 160


def test_of_many_pairs_the_worst_and_an_even_sample_are_shown(things, store, tmp_path):
    maker = things(4)
    for video in "ab":
        store(tmp_path / f"{video}.tar", maker.pairs(15, 20, video=video))
    audit = write_audit(tmp_path)
    assert (audit.pairs, audit.tracks, sum(audit.quality)) == (600, 30, 600)
    everything = sorted(stored.pair.quality.score for stored in read_pairs(tmp_path))
    shown = [float(card["data-quality"]) for card in page(tmp_path).of("li")]
    assert 300 <= len(shown) <= 340
    assert set(everything[:200]) <= set(shown)
    rest = [score for score in shown if score > everything[199]]
    assert max(rest) == everything[-1]
    assert abs(sum(rest) / len(rest) - sum(everything[200:]) / 400) < 0.02


def test_a_folder_without_pairs_keeps_no_old_pictures(things, store, tmp_path):
    shard = store(tmp_path / "a.tar", things().pairs(3, 2))
    write_audit(tmp_path)
    assert read_image(tmp_path / "contact_sheet.png").shape[1] > 100
    shard.unlink()
    audit = write_audit(tmp_path)
    assert (audit.pairs, audit.false_pairs.rate) == (0, None)
    assert not (tmp_path / "contact_sheet.png").exists()
    assert page(tmp_path).of("img") == []
    assert "There are no pairs." in "".join(page(tmp_path).text)


def test_a_damaged_shard_is_named(things, store, tmp_path):
    shard = store(tmp_path / "a.tar", things().pairs(3, 2))
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(ShardError, match=r"a\.tar"):
        write_audit(tmp_path)


def test_the_judged_sample_is_spread_over_all_pairs(things, store, tmp_path):
    maker = things(6)
    sizes = {"a": (40, 20), "b": (3, 20), "c": (50, 6)}
    shards = [
        (store(tmp_path / f"{video}.tar", maker.pairs(*size, video=video)), size[0] * size[1])
        for video, size in sizes.items()
    ]
    chosen = [stored.pair for stored in judged_sample(shards, most=200)]
    assert len({pair.key for pair in chosen}) == len(chosen)
    assert 100 <= len(chosen) <= 240
    by_video = Counter(pair.video[0] for pair in chosen)
    assert by_video["a"] / len(chosen) == pytest.approx(800 / 1160, abs=0.1)
    for video in by_video:
        tracks = {pair.track for pair in chosen if pair.video[0] == video}
        assert len(tracks) >= 12 or video == "b"
    assert [pair.key for pair in chosen] == [s.pair.key for s in judged_sample(shards, most=200)]


def test_few_pairs_are_all_judged(things, store, tmp_path):
    shard = store(tmp_path / "a.tar", things().pairs(5, 4))
    assert len(judged_sample([(shard, 20)], most=20)) == 20
    assert judged_sample([]) == []


@pytest.mark.parametrize(
    ("time_s", "text"), [(0, "0:00.0"), (83.46, "1:23.5"), (3723, "1:02:03.0")]
)
def test_times_read_as_a_player_shows_them(time_s, text):
    assert clock(time_s) == text


def test_shares_read_as_percentages():
    assert [percent(share) for share in (0, 0.0321, 0.0999, 0.12, 1)] == [
        "0.0 %", "3.2 %", "10.0 %", "12 %", "100 %",
    ]  # fmt: skip
    assert span((0.0101, 0.12)) == "1 to 12 %"
    assert span((0.001, 0.052)) == "0.1 to 5.2 %"


def reasons_in_the_code():
    """Every text in the recipes that reads like a reason of the tally."""
    recipes = Path(toolkit.mining.__file__).parent
    for module in [*recipes.glob("modern/*.py"), *recipes.glob("wang2015/*.py")]:
        for node in ast.walk(ast.parse(module.read_bytes())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and _REASON.fullmatch(text):
                yield text


def test_every_reason_has_a_hint():
    reasons = set(reasons_in_the_code())
    assert {"cuts", "tracks lost", "pairs of low quality"} <= reasons
    assert [reason for reason in reasons if not hint(reason)] == []
    assert hint("something new") == ""
