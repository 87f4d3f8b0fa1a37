"""Mean and spread over folds and seeds."""

import statistics

import pytest

from pixelcam.summary import Spread, summarise


def test_mean_and_sample_deviation_are_those_of_the_standard_library():
    values = [71.2, 68.9, 74.4, 70.0]
    found = summarise({"pxap": value} for value in values)["pxap"]
    assert (found.mean, found.deviation, found.n) == (
        pytest.approx(statistics.mean(values)),
        pytest.approx(statistics.stdev(values)),
        4,
    )


def test_a_figure_that_a_run_lacks_counts_for_the_others_alone():
    found = summarise([{"pxap": 60.0, "dice": None}, {"pxap": float("nan")}, {"pxap": 64.0, "accuracy": 90}])
    assert found == {"pxap": Spread(62.0, pytest.approx(8**0.5), 2), "accuracy": Spread(90.0, None, 1)}


def test_one_run_has_no_spread_and_says_so():
    assert str(Spread(61.25, None, 1)) == "61.2 (n = 1)"
    assert str(summarise([{"a": 1}, {"a": 3}])["a"]) == "2.0 ± 1.4 (n = 2)"
    assert summarise([]) == {}
