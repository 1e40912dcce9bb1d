"""Which value of a label is positive, said and never guessed in silence."""

import numpy as np
import pandas as pd
import pytest

from gobj.study.labels import read_labels


def column(*values: object, repeat: int = 25) -> pd.DataFrame:
    return pd.DataFrame({"y": list(values) * repeat})


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (("yes", "no", "no"), "yes"),
        (("Yes", "No"), "Yes"),
        ((0, 1), "1"),
        ((0.0, 1.0), "1"),
        (("0", "1.0"), "1"),
        ((True, False), "True"),
        ((1, 2, 2), "1"),
        (("good", "bad", "good"), "bad"),
    ],
)
def test_the_positive_value(values: tuple[object, ...], positive: str) -> None:
    (label,), truth, known = read_labels(column(*values), ["y"], None)
    assert (label.positive, truth.mean()) == (positive, pytest.approx(label.share))
    assert known.all()


def test_values_that_say_nothing_are_explained_with_the_way_to_turn_them() -> None:
    (label,), _, _ = read_labels(column(2, 2, 3), ["y"], None)
    assert label.positive == "3"
    assert label.why == "3 is rarer than 2: --positive 2 turns it"


def test_one_and_two_are_explained_too() -> None:
    (label,), _, _ = read_labels(column(1, 2, 2), ["y"], None)
    assert label.why == "1 is rarer than 2: --positive 2 turns it"
    (label,), _, _ = read_labels(column(1, 1, 2), ["y"], None)
    assert (label.positive, label.why) == ("2", "2 is rarer than 1: --positive 1 turns it")


def test_missing_labels_are_known_to_be_missing() -> None:
    frame = column("a", "b", None)
    with pytest.raises(ValueError, match="25 of 75 in 'y'"):
        read_labels(frame, ["y"], None)
    _, _, known = read_labels(frame, ["y"], None, drop_missing=True)
    np.testing.assert_array_equal(known[:, 0], [True, True, False] * 25)


def test_more_than_two_values_ask_for_the_positive_one() -> None:
    frame = column("a", "b", "c")
    with pytest.raises(ValueError, match=r"--positive the one to find; got 3 in 'y': a \(25\), b"):
        read_labels(frame, ["y"], None)
    (label,), _, _ = read_labels(frame, ["y"], "c")
    assert label.share == pytest.approx(1 / 3)
