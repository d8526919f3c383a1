"""The run page: self-contained, escaped, accessible, small, and true to what it was given."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from toolkit.evaluation.evaluate import HeldOutPatches
from toolkit.evaluation.retrieval import Gallery
from toolkit.images import decode_image
from toolkit.records import Box, PatchPair, Sighting, TrackQuality
from toolkit.training.run_folder import DataRecord
from toolkit.training.settings import TrainSettings
from toolkit.training.watch.neighbours import Example, Found
from toolkit.training.watch.page import FINISHED, TRAINING, Story, write_page

SETTINGS = TrainSettings(loss="rank-hard", steps=1000, rate=0.004, hard_after=0.5).resolved("fp32")
ROWS = [
    {"step": 0, "recall@1": 0.25, "recall@5": 0.5, "map@r": 0.125},
    *(
        {"step": step, "loss": 0.5 - step / 4000, "rate": 0.004, "hard_ratio": 0.5,
         "rand_ratio": 0.5, "spread": 0.75, "effective_rank": 21.5, "pairs_per_second": 1234.4}
        for step in range(10, 1001, 10)
    ),
    {"step": 500, "recall@1": 0.875, "recall@5": 1.0, "map@r": 0.5},
    {"step": 1000, "recall@1": 0.75, "recall@5": 1.0, "map@r": 0.5},
]  # fmt: skip


def story(rows=ROWS, state=FINISHED, **changes):
    values = {
        "name": "try<1>", "settings": SETTINGS, "rows": rows, "state": state, "step": 1000,
        "data": DataRecord("clips/<b>&", "0" * 64, 640, ("k1", "k2")),
        "baselines": {"color histogram": 0.375, "hog": 0.3125}, "resume": "vr train --resume",
    }  # fmt: skip
    return Story(**values | changes)


@pytest.fixture
def held_out():
    """Three pairs; every patch is of one gray: queries 10, 20, 30, positives 110, 120, 130."""
    grays = np.array([10, 20, 30], np.uint8).reshape(3, 1, 1, 1)
    patches = grays + np.zeros((1, 16, 16, 3), np.uint8)
    sighting = [Sighting(60.0 + i, Box(0, 0, 9, 9)) for i in range(6)]
    records = [
        PatchPair(f"k{i}", "v", f'clips/"{i}"<&.mp4', "c", f"t{i}", sighting[i], sighting[i + 3],
                  TrackQuality(1, 0, 1), 0, 0) for i in range(3)
    ]  # fmt: skip
    gallery = Gallery(np.zeros((3, 6), bool), np.zeros((3, 6), bool))
    return HeldOutPatches(patches, patches + 100, gallery, records)


EXAMPLE = Example(
    "worst", 1, 17, Found(4, 0.5, True), (Found(2, 0.875, False), Found(4, 0.5, True))
)


class Page(HTMLParser):
    """The tags, texts and attributes of a page, with every tag that is open at the end."""

    VOID = ("meta", "img", "br", "input", "link")

    def __init__(self, content):
        super().__init__()
        self.content, self.open, self.texts = content, [], []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(tmp_path, told, held_out=None, examples=()):
    write_page(tmp_path / "report.html", told, held_out, examples)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_figures_settings_and_state_stand_on_the_page(tmp_path):
    page = page_of(tmp_path, story())
    for words in (
        "Training run try<1>", "Finished: 1,000 steps", "0.750 R@1 on held-out pairs, step 1,000",
        "0.875 the best R@1", "0.750 spread", "21.5 effective rank of 127", "1,234 pairs a second",
        "640 pairs to train on", "clips/<b>&: 640 pairs to train on, 2 held out by time",
        "color histogram 0.375", "hog 0.3125", "before training 0.25", "one point 0.5",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.open == []


def test_what_differs_from_the_recipe_is_listed_and_nothing_else(tmp_path):
    page = page_of(tmp_path, story())
    table = page.content.split("Where it leaves the recipe")[1].split("</table>")[0]
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", table)
    assert sorted(rows) == [
        ("hard_after", "0.5", f"{TrainSettings().hard_after:g}"),
        ("loss", "rank-hard", TrainSettings().loss),
        ("rate", "0.004", f"{TrainSettings().rate:g}"),
    ]


def test_the_page_fetches_nothing_and_runs_nothing(tmp_path, held_out):
    page = page_of(tmp_path, story(), held_out, [EXAMPLE])
    assert not page.all("script")
    assert not page.all("link")
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in page.all("img"))
    links = {link["href"] for link in page.all("a")}
    assert links == {
        "settings.json", "data.json", "metrics.jsonl", "tensorboard/", "checkpoints/", "model.json"
    }  # fmt: skip
    assert "http" not in page.content.replace("http-equiv", "")


def test_every_picture_has_words_and_every_chart_a_summary(tmp_path, held_out):
    page = page_of(tmp_path, story(), held_out, [EXAMPLE])
    assert [image["alt"] for image in page.all("img")] == [
        'query, "1"<&.mp4 at 1:01.0', 'its positive, "1"<&.mp4 at 1:04.0',
        'wrong, "2"<&.mp4 at 1:02.0', 'right, "1"<&.mp4 at 1:04.0',
    ]  # fmt: skip
    charts = [svg for svg in page.all("svg") if "role" in svg]
    assert len(charts) == 6
    assert all("at step" in svg["aria-label"] for svg in charts)
    assert all("aria-hidden" in svg for svg in page.all("svg") if "role" not in svg)


def test_the_pictures_are_the_patches_of_the_example(tmp_path, held_out):
    import base64

    page = page_of(tmp_path, story(), held_out, [EXAMPLE])
    grays = []
    for image in page.all("img"):
        jpeg = base64.b64decode(image["src"].partition(",")[2])
        grays.append(round(float(decode_image(jpeg, name="x").mean())))
    assert grays == pytest.approx([20, 120, 30, 120], abs=1)
    for words in ("right at place 17", "✗ 0.88", "✓ 0.50"):
        assert words in page.text, words


def test_an_alarm_and_a_recovery_stand_at_the_top(tmp_path):
    rows = [
        *ROWS,
        {"step": 300, "alarm": "Collapse: <all> is one."},
        {"step": 700, "recovered": "Again."},
    ]
    page = page_of(tmp_path, story(rows))
    assert "Alarm at step 300. Collapse: <all> is one." in page.text
    assert page.text.index("Collapse") < page.text.index("Again.") < page.text.index("Curves")
    assert [tag for tag in page.all("div") if tag.get("role") == "alert"]
    assert not [t for t in page_of(tmp_path, story()).all("div") if t.get("role") == "alert"]


def test_a_run_before_its_first_row_has_a_page(tmp_path):
    page = page_of(tmp_path, story([], TRAINING, step=0, baselines={}))
    assert "In training: 0 of 1,000 steps" in page.text
    assert "Curves" not in page.text
    assert page.open == []


def test_values_that_were_no_numbers_are_left_out(tmp_path):
    rows = [{"step": 10, "loss": 0.5, "spread": None, "effective_rank": None,
             "pairs_per_second": 3.0}]  # fmt: skip
    page = page_of(tmp_path, story(rows, baselines={}))
    assert "None" not in page.text
    assert len([svg for svg in page.all("svg") if "role" in svg]) == 1


def test_infonce_has_its_own_point_and_no_kinds_of_negatives(tmp_path):
    page = page_of(tmp_path, story(settings=SETTINGS.changed(loss="infonce")))
    assert "one point 4.844" in page.text  # the logarithm of 127
    assert "Kinds of negatives" not in page.text


def test_a_long_run_makes_no_large_page(tmp_path, held_out):
    rng = np.random.default_rng(0)
    rows = [
        {"step": step, "loss": rng.random(), "rate": rng.random(), "hard_ratio": rng.random(),
         "rand_ratio": rng.random(), "spread": rng.random(), "effective_rank": rng.random()}
        for step in range(100, 400_001, 100)
    ]  # fmt: skip
    rows += [{"step": step, "recall@1": 0.5, "recall@5": 0.5, "map@r": 0.5}
             for step in range(0, 400_001, 500)]  # fmt: skip
    page = page_of(tmp_path, story(rows), held_out, [EXAMPLE] * 9)
    assert len(page.content) < 500_000
