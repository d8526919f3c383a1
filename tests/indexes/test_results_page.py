"""The results page: self-contained, escaped, a card a hit, times and boxes as people read them."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from indexes.page import Query, box_text, write_results_page
from indexes.search import Hit
from toolkit.errors import StorageError
from toolkit.images import decode_image, encode_jpeg
from toolkit.pages import clock


@pytest.fixture
def query(picture_of):
    return Query("clips/<b>&car.jpg", picture_of(1), "index", 12345, "0123456789abcdef", 4.2)


def hits():
    return [
        Hit(1, 0.98765, 3, "clips/street.mp4", 83.46, (10.0, 20.4, 58.6, 68.0), "t", None),
        Hit(2, -0.25, 9, 'a "quoted" & <i>.png', None, (0, 0, 4, 4), None, "cat <b>"),
    ]


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
    write_results_page(target, query, hits, lambda patch: encode_jpeg(picture_of(patch)))
    return Page(target.read_text(encoding="utf-8"))


def test_each_hit_is_a_card_with_its_picture_score_source_time_and_box(tmp_path, query, picture_of):
    page = write(tmp_path, query, hits(), picture_of)
    assert page.tags.count("li") == 2
    for text in ("1 0.988", "street.mp4 at 1:23.5", "box 10,20,59,68", "2 hits among 12,345"):
        assert text in page.text
    for text in ("2 -0.250", 'a "quoted" & <i>.png box 0,0,4,4', "label cat <b>", "0123456789ab "):
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


def test_one_hit_is_singular(tmp_path, query, picture_of):
    assert "1 hit among" in write(tmp_path, query, hits()[:1], picture_of).text


def test_a_name_of_broken_bytes_can_be_written(tmp_path, picture_of):
    broken = Query("a\udcff.jpg", picture_of(1), "index", 1, "f" * 64, 1.0)
    assert "a\\udcff.jpg" in write(tmp_path, broken, [], picture_of).text


def test_a_page_that_cannot_be_written_is_a_storage_error(tmp_path, query):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError):
        write_results_page(tmp_path / "file" / "page.html", query, [], lambda patch: b"")


def test_a_page_that_finds_no_room_leaves_nothing(tmp_path, query, picture_of, largest_file):
    target = tmp_path / "page.html"
    with largest_file(1000), pytest.raises(StorageError, match=r"page\.html"):
        write_results_page(target, query, hits(), lambda patch: encode_jpeg(picture_of(patch)))
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
