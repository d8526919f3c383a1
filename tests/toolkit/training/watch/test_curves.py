"""Curves from rows, axes with round numbers, and their places in the picture."""

import itertools
import math
import random
import xml.etree.ElementTree as ET

import pytest

from toolkit.training.watch.curves import Chart, Level, Line, Point, points_of, text_of, ticks
from toolkit.training.watch.drawing import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, draw


def rows_of(values, every=10):
    return [{"step": every * i, "loss": value} for i, value in enumerate(values, 1)]


def test_few_values_are_points_as_they_are():
    assert points_of(rows_of([3.0, 1.0]), "loss") == [Point(10, 3, 3, 3), Point(20, 1, 1, 1)]


def test_rows_without_the_value_or_without_a_number_are_passed_over():
    rows = [{"step": 1, "recall@1": 0.5}, {"step": 2, "loss": None}, {"step": 3, "loss": 2.0}]
    assert [point.step for point in points_of(rows, "loss")] == [3]
    assert points_of([], "loss") == []


def test_many_values_are_averaged_and_keep_their_range():
    values = [random.Random(0).random() for _ in range(1000)]
    points = points_of(rows_of(values), "loss", most=30)
    assert len(points) <= 30
    assert points[-1].step == 10_000
    size = 34  # 1000 values in 30 bins, rounded up
    for number, point in enumerate(points):
        part = values[number * size : (number + 1) * size]
        assert point.value == pytest.approx(sum(part) / len(part))
        assert (point.low, point.high) == (min(part), max(part))


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 0.002), (0, 400_000), (0.3, 7.9), (-2, 3)])
def test_ticks_are_few_even_and_within(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 6
    assert low <= found[0]
    assert found[-1] <= high * (1 + 1e-9)
    gaps = {round((b - a) / (high - low), 9) for a, b in itertools.pairwise(found)}
    assert len(gaps) == 1
    step = found[1] - found[0]
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in (1, 2, 2.5, 5)


def test_an_axis_without_length_has_one_tick():
    assert ticks(5, 5) == [5]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (400_000, "400,000"), (0.25, "0.25"), (0.0005, "0.0005"), (2e-6, "2.0e-6")],
)
def test_values_read_as_people_write_them(value, text):
    assert text_of(value) == text


def test_a_chart_is_laid_out_in_its_frame():
    points = points_of(rows_of([0.5, 0.75, 1.0]), "loss")
    drawing = draw(Chart("Loss", "", [Line("loss", points)], [Level("none", 0.5)], ceiling=1), 40)
    [(style, path)] = drawing.paths
    assert style == "a"
    # By hand: steps 10, 20, 30 of 40, and values 0.5, 0.75, 1 of an axis from 0 to 1.
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    places = [(LEFT + inner_w * s, TOP + inner_h * (1 - v)) for s, v in zip(
        (0.25, 0.5, 0.75), (0.5, 0.75, 1.0), strict=True)]  # fmt: skip
    found = [tuple(map(float, pair.split())) for pair in path[1:].split("L")]
    assert found == [pytest.approx(place, abs=0.06) for place in places]
    assert drawing.levels == [("none 0.5", pytest.approx(places[0][1], abs=0.06))]
    assert drawing.bands == []
    assert drawing.y_ticks[0] == (HEIGHT - BOTTOM, "0")
    assert drawing.summary == "Loss: loss from 0.5 at step 10 to 1 at step 30; none is at 0.5."


def test_the_zones_of_the_mouse_cover_the_chart_without_gaps():
    lines = [Line(n, points_of(rows_of([1, 2, 4]), "loss"), s) for n, s in (("x", "a"), ("y", "b"))]
    zones = draw(Chart("", "", lines), 30).zones
    assert zones[0].x == LEFT
    for one, other in itertools.pairwise(zones):
        assert one.x + one.width == pytest.approx(other.x, abs=0.11)
    assert zones[-1].x + zones[-1].width == pytest.approx(WIDTH - RIGHT, abs=0.11)
    assert zones[1].text == "step 20: x 2, y 2"
    assert [style for _, _, style in zones[1].dots] == ["a", "b"]


def test_averaged_values_have_a_band_and_one_value_can_be_seen():
    noisy = Line("loss", points_of(rows_of([1, 2] * 500), "loss", most=50))
    drawing = draw(Chart("", "", [noisy]), 10_000)
    [(_, band)] = drawing.bands
    assert band.endswith("Z")
    ET.fromstring(f'<path d="{band}"/>')
    [(_, path)] = draw(Chart("", "", [Line("x", [Point(0, 0, 0, 0)])]), 1).paths
    assert path.endswith("h3")


def test_a_constant_of_zero_still_has_an_axis():
    drawing = draw(Chart("", "", [Line("x", [Point(1, 0, 0, 0), Point(2, 0, 0, 0)])]), 2)
    assert len(drawing.y_ticks) > 1
