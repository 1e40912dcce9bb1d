"""Tables turned into numbers, and their splits."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch.testing import assert_close

from gobj.study.splits import learn_scaling, scale, split
from gobj.study.tables import Table, prepare

ROWS = 80
RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(3, 2, ROWS)
LABEL = np.arange(ROWS) % 4 == 0


def table_of(**columns: object) -> Table:
    return prepare(pd.DataFrame({"number": NUMBERS, "label": LABEL} | columns), "label")


def test_text_becomes_one_column_per_value_and_zeros_where_it_is_missing() -> None:
    table = table_of(colour=["red", "blue", None, "red"] * 20)
    expected = torch.tensor([[0, 1], [1, 0], [0, 0], [0, 1]]).repeat(20, 1).double()
    assert_close(table.features[:, 1:], expected)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        ([f"name {row}" for row in range(ROWS)], "text with 80 values"),
        (pd.date_range("2020-01-01", periods=ROWS), "dates"),
        ([7.0] * ROWS, "constant"),
        ([np.nan] * ROWS, "constant"),
        (["same"] * ROWS, "constant"),
    ],
)
def test_columns_that_teach_nothing_are_left_out_with_the_reason(
    column: object, reason: str
) -> None:
    table = table_of(extra=column)
    assert (table.left_out, table.features.shape[1]) == ({"extra": reason}, 1)


def test_saved_row_numbers_are_left_out() -> None:
    assert table_of(**{"Unnamed: 0": np.arange(ROWS)}).left_out == {"Unnamed: 0": "no name"}


def test_numbers_written_as_text_are_numbers() -> None:
    table = table_of(extra=[str(row / 2) for row in range(ROWS)])
    assert_close(table.features[:, 1], torch.arange(ROWS).double() / 2)


def test_infinite_numbers_count_as_missing() -> None:
    table = table_of(extra=[np.inf, -np.inf, 1.0, 2.0] * 20)
    assert table.features[:4, 1].isnan().tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("values", "positive"),
    [((0, 1), "1"), ((1.0, 0.0), "1"), (("no", "Yes"), "Yes"), (("a", "b"), "b"), ((5, 3), "3")],
)
def test_positive_is_one_or_yes_and_else_the_rarer_value(
    values: tuple[object, object], positive: str
) -> None:
    table = table_of(label=[values[row % 3 == 0] for row in range(ROWS)])
    expected = [float(str(values[row % 3 == 0]).startswith(positive)) for row in range(ROWS)]
    assert (table.labels.tolist(), table.positive) == (expected, f"label = {positive}")


def test_a_named_value_stands_against_all_others() -> None:
    frame = pd.DataFrame({"x": NUMBERS, "y": ["a", "b", "c", "b"] * 20})
    assert prepare(frame, "y", positive="b").labels.tolist() == [0, 1, 0, 1] * 20


def test_rows_of_weight_zero_are_dropped_and_the_others_have_mean_one() -> None:
    frame = pd.DataFrame({"x": NUMBERS, "y": LABEL[::-1], "w": [0, 2, 4, 6] * 20})
    table = prepare(frame, "y", weights="w")
    assert table.weights is not None
    assert_close(table.weights, torch.tensor([0.5, 1.0, 1.5]).repeat(20))


def test_parts_hold_every_row_once_and_their_share_of_both_classes() -> None:
    table = table_of()
    splits = split(table._replace(weights=torch.arange(ROWS) + 1.0), 3)
    weights = [part.weights for part in splits if part.weights is not None]
    assert [part.shape[1] for part in weights] == [40, 12, 28]
    every_row = torch.cat(weights, 1).sort(1).values
    assert_close(every_row, (torch.arange(ROWS) + 1.0).expand(3, -1))
    assert [part.labels.sum(1).tolist() for part in splits] == [[10.0] * 3, [3.0] * 3, [7.0] * 3]


def test_seeds_draw_different_rows() -> None:
    train = split(table_of(), 2).train
    assert not torch.equal(train.features[0], train.features[1])


def test_features_are_scaled_by_the_training_rows() -> None:
    table = table_of()
    splits = split(table._replace(weights=torch.arange(ROWS) + 1.0), 2)
    assert splits.train.weights is not None
    assert splits.test.weights is not None
    for seed in range(2):
        rows = [(weights[seed] - 1).int().numpy() for weights in (splits[0][2], splits[2][2])]
        scaler = StandardScaler().fit(NUMBERS[rows[0], None])
        expected = torch.from_numpy(scaler.transform(NUMBERS[rows[1], None])).float()
        assert_close(splits.test.features[seed], expected)


def test_missing_numbers_become_the_median_of_the_training_rows() -> None:
    extra = np.where(np.arange(ROWS) % 8 == 3, np.nan, np.exp(NUMBERS))
    train = split(table_of(extra=extra)._replace(weights=torch.arange(ROWS) + 1.0), 2).train
    assert train.weights is not None
    rows = (train.weights[1] - 1).long().numpy()
    known = np.sort(extra[rows][~np.isnan(extra[rows])])
    filled = np.where(np.isnan(extra[rows]), known[(len(known) - 1) // 2], extra[rows])
    expected = torch.from_numpy(StandardScaler().fit_transform(filled[:, None])).float()
    assert_close(train.features[1, :, 1:], expected.clamp(-5, 5))


def test_outliers_are_clipped() -> None:
    splits = split(table_of(extra=np.where(np.arange(ROWS) == 5, 1e300, NUMBERS)), 4)
    assert max(part.features.abs().max().item() for part in splits) == 5


def test_a_column_that_is_constant_in_training_rows_stays_zero() -> None:
    scaling = learn_scaling(torch.tensor([[1.0, 2.0], [1.0, 3.0]], dtype=torch.float64))
    scaled = scale(torch.tensor([[9.0, 2.5]], dtype=torch.float64), scaling)
    assert_close(scaled, torch.zeros(1, 2, dtype=torch.float64))
