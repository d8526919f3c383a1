"""The alarm on made-up rows: when it speaks, when it is silent, and what it advises."""

import math

import pytest

from toolkit.training.settings import TrainSettings
from toolkit.training.watch.alarm import ALARM, RECOVERED, CollapseAlarm, point_loss

RANK_HARD = TrainSettings(
    loss="rank-hard", dim=64, steps=10_000, batch_pairs=16, warmup=0.05, hard_after=0.375
)
INFONCE = RANK_HARD.changed(loss="infonce")

SOUND = {"loss": 0.3, "spread": 0.95, "effective_rank": 20.0, "hard_ratio": 0.0}
ON_POINT = {"loss": 0.4999, "spread": 0.01, "effective_rank": 18.0, "hard_ratio": 0.5}
ON_LINE = {"loss": 0.35, "spread": 0.9, "effective_rank": 1.3, "hard_ratio": 0.0}


def heard(settings, rows, earlier=()):
    """(step, what was said) for rows that follow each other every 10 steps."""
    alarm = CollapseAlarm(settings, 16, earlier)
    first = earlier[-1]["step"] if earlier else 0
    said = [(first + 10 * i, alarm.feed(first + 10 * i, row)) for i, row in enumerate(rows, 1)]
    return [(step, one) for step, one in said if one]


def test_a_sound_run_is_left_alone():
    assert heard(RANK_HARD, [SOUND] * 1000) == []


def test_a_network_that_falls_on_a_point_is_told_of_once():
    [(step, said)] = heard(RANK_HARD, [SOUND] * 10 + [ON_POINT] * 500)
    assert (step, said.name) == (200, ALARM)  # ten rows after the fall
    for words in ("from step 110 to 200", "on one point", "0.5000", "--set hard_after=0.625"):
        assert words in said.text
    assert f"--rate {RANK_HARD.rate / 4:g}" in said.text
    assert "--set warmup=0.1" in said.text


def test_a_fall_with_random_negatives_is_not_laid_on_the_hard_ones():
    [(_, said)] = heard(RANK_HARD, [SOUND] * 10 + [ON_POINT | {"hard_ratio": 0.0}] * 20)
    assert "hard_after" not in said.text
    assert "--loss infonce" in said.text


def test_a_passing_fall_is_none():
    assert heard(RANK_HARD, ([SOUND] * 10 + [ON_POINT] * 9) * 20) == []


def test_one_good_row_is_no_recovery_and_three_are():
    rows = [SOUND] * 5 + [ON_POINT] * 10 + [SOUND, ON_POINT] * 20 + [SOUND] * 3 + [ON_POINT] * 10
    assert [said.name for _, said in heard(RANK_HARD, rows)] == [ALARM, RECOVERED, ALARM]


def test_a_fresh_network_on_a_point_has_time_to_leave_it():
    # 5 % of 10,000 steps are 500; the paper's AlexNet begins like this.
    waiting = [ON_POINT] * 50
    assert heard(RANK_HARD, waiting + [SOUND] * 50) == []
    assert heard(RANK_HARD, [ON_POINT] * 52)[0][0] == 510
    assert heard(RANK_HARD.changed(steps=1000), waiting)[0][0] == 300  # but never before 30 rows


def test_a_network_that_falls_within_its_first_rows_needs_no_such_time():
    assert heard(RANK_HARD, [SOUND] + [ON_POINT] * 50)[0][0] == 110


def test_a_network_on_its_way_out_is_not_called_collapsed():
    growing = [ON_POINT | {"spread": 0.0005 * 1.03**i} for i in range(190)]
    assert growing[-1]["spread"] < 0.25
    assert heard(RANK_HARD.changed(steps=4000), growing) == []


def test_a_run_that_ends_on_the_point_where_it_began_is_told_of_at_its_last_step():
    short = RANK_HARD.changed(steps=150)
    assert [step for step, _ in heard(short, [ON_POINT] * 15)] == [150]


def test_embeddings_that_are_equal_need_no_patience():
    dead = {"loss": 0.5, "spread": 0.0, "effective_rank": 0.0, "hard_ratio": 0.0}
    assert heard(RANK_HARD, [dead] * 20)[0][0] == 100


def test_a_dead_network_is_seen_whatever_the_loss():
    # With fewer candidates than negatives the loss of a point is below the margin.
    assert heard(RANK_HARD, [ON_POINT | {"loss": 0.1, "spread": 1e-5}] * 20)[0][0] == 100


def test_near_but_not_at_the_loss_of_a_point_is_no_collapse():
    near = ON_POINT | {"loss": 0.45}
    assert heard(RANK_HARD, [SOUND] * 10 + [near] * 500) == []


def test_embeddings_that_are_short_by_intent_are_no_line():
    assert heard(RANK_HARD.changed(dim=2), [ON_LINE] * 2000) == []


def test_few_directions_are_told_of():
    [(step, said)] = heard(RANK_HARD, [SOUND] * 10 + [ON_LINE] * 100)
    assert step == 200
    assert "1.3 directions of 31" in said.text


@pytest.mark.parametrize("settings", [INFONCE, INFONCE.changed(known_negatives=True)])
def test_infonce_collapses_at_the_logarithm_of_the_candidates(settings):
    assert point_loss(settings, 16) == pytest.approx(math.log(31))
    fallen = {"loss": math.log(30), "spread": 0.01, "effective_rank": 9.0, "hard_ratio": 0.0}
    [(_, said)] = heard(settings, [SOUND] * 5 + [fallen] * 20)
    assert "--set temperature=0.2" in said.text
    assert "hard_after" not in said.text


def test_values_that_are_no_numbers_are_no_collapse():
    nothing = {"loss": None, "spread": None, "effective_rank": None, "hard_ratio": 0.0}
    assert heard(RANK_HARD, [nothing] * 500) == []


def test_a_resumed_run_goes_on_counting_and_does_not_repeat_itself():
    rows = [SOUND] * 10 + [ON_POINT] * 30
    log = [{"step": 10 * i, **row} for i, row in enumerate(rows, 1)]
    whole = heard(RANK_HARD, rows)
    for cut in (1, 15, 19, 20, 35):
        kept = [*log[:cut], {"step": 10 * cut, "recall@1": 0.5}]
        rest = heard(RANK_HARD, rows[cut:], kept)
        assert rest == [one for one in whole if one[0] > 10 * cut]
