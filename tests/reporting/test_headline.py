"""What the sentences of a run claim, whatever sign its figures have."""

import pandas as pd
import pytest

from robustmedclip.reporting.headline import headline

#: Points lost with their interval: surely, by chance, gained by chance, and surely gained.
LOST, PERHAPS, HARDLY, GAINED = (9.6, 8.0, 11.0), (0.5, -1.0, 2.0), (-0.5, -2.0, 1.0), (-9.6, -11.0, -8.0)


def said(lost, blur=None, other=None, other_lost=None, won=None) -> list[str]:
    """The sentences of a model `a` that loses so many points, under noise alone or under blur, too."""
    rows = _rows("a", "zero-shot", lost, {"gaussian_noise": lost} | ({"blur": blur} if blur else {}))
    board = [("a", "a", lost[0], None, 0)]
    if other_lost:
        rows += _rows("b", "zero-shot", other_lost, {"gaussian_noise": other_lost})
        board.append(("b", "b", other_lost[0], None, 0))
    if won:
        rows += _rows("a_lora", "lora", lost, {"gaussian_noise": lost}, won)
        board.append(("a_lora", "a", lost[0], won[0], 8))
    columns = ["model", "base", "points_lost", "points_won_back", "training_images"]
    leaderboard = pd.DataFrame(board, columns=columns).assign(validation_images=0, corrupted_error=30.0)
    names = ["model", "adaptation", "metric", "corruption", "severity", "value", "low", "high"]
    everywhere = {"data_set": "all", "modality": "all", "collection": "all", "seed": None}
    return headline(pd.DataFrame(rows, columns=names).assign(**everywhere), leaderboard)


def _rows(model, adaptation, lost, by_corruption, won=None):
    cells = [("error", "all", 0, (40.0, 39.0, 41.0)), ("error", "all", None, (40.0 + lost[0], 0.0, 99.0))]
    cells += [("clean_error", "clean", None, (25.0, 24.0, 26.0))]  # with a data set that is not corrupted
    cells += [("points_lost", name, None, of) for name, of in {"all": lost, **by_corruption}.items()]
    cells += [("points_won_back", "all", None, won)] if won else []
    return [(model, adaptation, *cell, *values) for *cell, values in cells]


def test_a_model_that_loses_breaks():
    first, second = said(LOST, blur=(2.0, 1.0, 3.0))
    assert "tuning, a breaks: its errors rise from 40.0 % [39.0, 41.0] on clean images to 49.6 %" in first
    assert first.endswith("by 9.6 [8.0, 11.0] points.")
    assert (
        second
        == "a breaks most under gaussian noise, by 9.6 [8.0, 11.0] points, and least under blur, by 2.0 [1.0, 3.0]."
    )


@pytest.mark.parametrize(
    ("lost", "claim", "end"),
    [
        (
            PERHAPS,
            "no model surely breaks: the errors of a are 40.0 %",
            "0.5 [-1.0, 2.0] points more, which may be chance.",
        ),
        (
            HARDLY,
            "no model surely breaks: the errors of a are 40.0 %",
            "0.5 [-1.0, 2.0] points fewer, which may be chance.",
        ),
        (GAINED, "no model breaks: the errors of a fall from 40.0 %", "by 9.6 [8.0, 11.0] points."),
    ],
)
def test_a_model_that_may_not_lose_or_gains_is_not_said_to_break(lost, claim, end):
    first, second = said(lost)
    assert claim in first and first.endswith(end) and "rise" not in first
    assert second.startswith("Under no corruption a") and "-9.6" not in second


def test_what_may_be_chance_of_one_is_not_said_of_all():
    first, second = said((4.0, -4.5, 12.5), blur=(3.0, 0.5, 5.0), other_lost=(3.0, 0.5, 5.0))
    assert (
        "tuning, a may break most: its errors are 40.0 %" in first and "may be chance; those of b rise least" in first
    )
    assert second == (
        "a surely breaks under blur, by 3.0 [0.5, 5.0] points; under gaussian noise its errors are 4.0 [-4.5, 12.5] "
        "points more, which may be chance."
    )


@pytest.mark.parametrize(
    ("other", "end"),
    [
        ((3.0, 2.0, 4.0), "those of b rise least, by 3.0 [2.0, 4.0], from 40.0 to 43.0 %."),
        (LOST, "those of b rise as much, by 9.6 [8.0, 11.0], from 40.0 to 49.6 %."),
        (PERHAPS, "those of b are 40.0 and 40.5 %, 0.5 [-1.0, 2.0] points more, which may be chance."),
        (GAINED, "those of b fall, by 9.6 [8.0, 11.0], from 40.0 to 30.4 %."),
    ],
)
def test_the_model_that_loses_least_rises_falls_or_may_do_either(other, end):
    first, _ = said(LOST, other_lost=other)
    assert "a breaks most" in first and first.endswith(end)


@pytest.mark.parametrize(
    ("blur", "sentence"),
    [
        (None, "a breaks under gaussian noise, by 9.6 [8.0, 11.0] points."),
        (LOST, "a breaks under gaussian noise and all others alike, by 9.6 [8.0, 11.0] points."),
        (HARDLY, "; under blur its errors are 0.5 [-1.0, 2.0] points fewer, which may be chance."),
        (GAINED, "; under blur its errors fall, by 9.6 [8.0, 11.0]."),
    ],
)
def test_the_mildest_corruption_is_said_as_it_is(blur, sentence):
    assert said(LOST, blur=blur)[1].endswith(sentence)


@pytest.mark.parametrize(
    ("lost", "won", "claim"),
    [
        (
            LOST,
            (4.0, 3.0, 5.0),
            "With 8 labelled images, a_lora wins back 4.0 [3.0, 5.0] of the 9.6 points: its errors",
        ),
        (LOST, (12.0, 9.0, 15.0), "wins back 12.0 [9.0, 15.0], more than the 9.6 points"),
        (LOST, PERHAPS, "wins back 0.5 [-1.0, 2.0] of the 9.6 points (which may be chance)"),
        (LOST, HARDLY, "loses another 0.5 [-1.0, 2.0] points (which may be chance)"),
        (LOST, GAINED, "loses another 9.6 [8.0, 11.0] points: its errors"),
        (GAINED, (4.0, 3.0, 5.0), "makes 4.0 [3.0, 5.0] points fewer errors on corrupted images: its errors"),
    ],
)
def test_what_labels_win_back_or_lose_is_said_with_its_sign(lost, won, claim):
    assert claim in said(lost, won=won)[2]


def test_without_an_interval_the_value_alone_tells():
    nan = float("nan")
    assert said((1.0, nan, nan))[0].endswith("by 1.0 points.")
    assert said((0.0, nan, nan))[0].endswith("0.0 points more, which may be chance.")
