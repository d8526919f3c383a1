"""The results page: self-contained, escaped, a card a hit, times and boxes as people read them."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from indexes.records import Place
from indexes.search.hits import Hit
from indexes.search.page import Card, Query, Shown, box_text, write_results_page
from indexes.search.strips import Picture, Strip
from toolkit.errors import StorageError
from toolkit.images import decode_image, encode_jpeg
from toolkit.pages import clock


@pytest.fixture
def query(picture_of):
    name = "clips/<b>&car.jpg"
    shown = [Shown.of(name, picture_of(1))]
    return Query(shown, "index", 12345, "0123456789abcdef", 4.2)


def hits():
    street = Place(3, "clips/street.mp4", 1, 83.46, (10.0, 20.4, 58.6, 68.0), "t", None, "north")
    image = Place(9, 'a "quoted" & <i>.png', 2, None, (0, 0, 4, 4), None, "cat <b>", None)
    return [Hit(1, 0.98765, street), Hit(2, -0.25, image)]


def cards(hits, picture_of):
    return [Card(hit, encode_jpeg(picture_of(hit.id)), Strip()) for hit in hits]


class Page(HTMLParser):
    def __init__(self, content):
        super().__init__()
        self.tags, self.texts, self.images = [], [], []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))


def write(tmp_path, query, hits, picture_of):
    target = tmp_path / "new" / "results.html"
    write_results_page(target, query, cards(hits, picture_of))
    return Page(target.read_text(encoding="utf-8"))


def test_each_hit_is_a_card_with_its_picture_score_source_time_and_box(tmp_path, query, picture_of):
    page = write(tmp_path, query, hits(), picture_of)
    assert page.tags.count("li") == 2
    texts = "1 0.988", "street.mp4 at 1:23.5", "box 10,20,59,68", "camera north", "track t"
    for text in (*texts, "2 hits among 12,345"):
        assert text in page.text
    for text in ("2 -0.250", 'a "quoted" & <i>.png box 0,0,4,4', "cat <b>", "0123456789ab "):
        assert text in page.text
    decoded = [
        decode_image(base64.b64decode(source.removeprefix("data:image/jpeg;base64,")), name="page")
        for source in page.images
    ]
    for image, seed in zip(decoded, (1, 3, 9), strict=True):
        assert np.abs(image.astype(int) - picture_of(seed).astype(int)).mean() < 8


def test_names_never_become_tags_and_nothing_is_fetched(tmp_path, query, picture_of):
    page = write(tmp_path, query, hits(), picture_of)
    assert not {"b", "i", "script", "link", "iframe"} & set(page.tags)
    content = (tmp_path / "new" / "results.html").read_text(encoding="utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|https?:", content)


def test_no_hits_say_so(tmp_path, query, picture_of):
    page = write(tmp_path, query, [], picture_of)
    assert "Nothing was found." in page.text
    assert "0 hits among" in page.text
    assert "li" not in page.tags


def test_why_nothing_was_found_stands_there(tmp_path, query, picture_of):
    from dataclasses import replace

    page = write(tmp_path, replace(query, empty="no patch is of <north>"), [], picture_of)
    assert "Nothing was found: no patch is of <north>." in page.text


def test_a_hit_without_a_picture_says_so(tmp_path, query):
    target = tmp_path / "page.html"
    write_results_page(target, query, [Card(hit, None, Strip()) for hit in hits()])
    page = Page(target.read_text(encoding="utf-8"))
    assert page.text.count("no picture in the index") == 2
    assert len(page.images) == 1


def test_negative_examples_conditions_and_damage_are_shown(tmp_path, query, picture_of):
    from dataclasses import replace

    asked = replace(
        query,
        unwanted=[Shown.of("dogs/<i>.jpg", picture_of(2)), Shown("patch 7", None)],
        conditions=["only camera north"],
        left_out=["segment <x> is damaged"],
    )
    page = write(tmp_path, asked, hits(), picture_of)
    for text in ("not like <i>.jpg", "not like patch 7", "only camera north", "segment <x>"):
        assert text in page.text
    assert len(page.images) == 4


def test_a_strip_shows_its_frames_the_box_and_where_it_is_from(tmp_path, query, picture_of):
    target = tmp_path / "page.html"
    frames = [Picture(time_s, encode_jpeg(picture_of(5)), time_s == 2.5) for time_s in (2.0, 2.5)]
    strip = Strip(tuple(frames), "From the <index>.", (10.0, 20.0, 30.0, 40.5))
    write_results_page(target, query, [Card(hits()[0], None, strip)])
    content = target.read_text(encoding="utf-8")
    page = Page(content)
    assert "left:10.0%;top:20.0%;width:30.0%;height:40.5%" in content
    assert content.count("<i style") == 1
    for text in ("0:02.0", "0:02.5", "From the <index>."):
        assert text in page.text


def test_one_hit_is_singular(tmp_path, query, picture_of):
    assert "1 hit among" in write(tmp_path, query, hits()[:1], picture_of).text


def test_a_name_of_broken_bytes_can_be_written(tmp_path, picture_of):
    shown = [Shown.of("a\udcff.jpg", picture_of(1))]
    broken = Query(shown, "index", 1, "f" * 64, 1.0)
    assert "a\\udcff.jpg" in write(tmp_path, broken, [], picture_of).text


def test_a_page_that_cannot_be_written_is_a_storage_error(tmp_path, query):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        write_results_page(tmp_path / "file" / "page.html", query, [])


def test_a_page_that_finds_no_room_leaves_nothing(tmp_path, query, picture_of, largest_file):
    target = tmp_path / "page.html"
    with largest_file(1000), pytest.raises(StorageError, match=r"page\.html"):
        write_results_page(target, query, cards(hits(), picture_of))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("time_s", "text"),
    [
        (0.0, "0:00.0"),
        (59.94, "0:59.9"),
        (59.96, "1:00.0"),
        (83.46, "1:23.5"),
        (3723.0, "1:02:03.0"),
        (-0.5, "-0:00.5"),
    ],
)
def test_times_read_as_a_player_shows_them(time_s, text):
    assert clock(time_s) == text


def test_a_box_is_written_as_the_option_takes_it():
    assert box_text((1.4, 2.6, 30.0, 4.5)) == "1,3,30,4"
