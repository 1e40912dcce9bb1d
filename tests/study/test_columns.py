"""Columns as numbers: the same for a batch as for the whole, for text as for typed columns."""

import io

import numpy as np
import pandas as pd
import pytest

from gobj.study.columns import Schema, encode, learn_schema, texts, unreadable
from tests.study.conftest import table_of


def schema_of(frame: pd.DataFrame) -> Schema:
    return learn_schema(list(frame.items()))


def test_text_gives_a_feature_per_value_and_numbers_one() -> None:
    schema = schema_of(table_of()[["x", "colour"]])
    assert schema.features == ["x", "colour = blue, light", "colour = green", "colour = red"]


def test_what_a_row_gets_does_not_depend_on_the_rows_around_it() -> None:
    frame = table_of()
    schema = schema_of(frame)
    whole = encode(frame, schema)
    rows = [encode(frame.iloc[[row]], schema) for row in range(len(frame))]
    np.testing.assert_array_equal(np.concatenate(rows), whole)


def test_a_file_of_text_gives_the_numbers_of_the_table_it_was_written_from() -> None:
    frame = table_of()
    read = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str)
    schema = schema_of(frame)
    assert schema_of(read) == schema
    np.testing.assert_array_equal(encode(read, schema), encode(frame, schema))


def test_values_that_the_schema_does_not_know_are_missing_and_counted() -> None:
    schema = schema_of(pd.DataFrame({"n": [1.0, 2.0], "t": ["a", "b"]}))
    new = pd.DataFrame({"n": ["3", "three", None], "t": ["a", "c", None]})
    np.testing.assert_array_equal(encode(new, schema), [[3, 1, 0], [np.nan, 0, 0], [np.nan, 0, 0]])
    assert unreadable(new, schema) == {"n": 1, "t": 1}


def test_truth_values_are_numbers_also_in_a_batch_with_gaps() -> None:
    schema = schema_of(pd.DataFrame({"b": [True, False, True]}))
    new = pd.DataFrame({"b": [True, None, "False"]}, dtype=object)
    np.testing.assert_array_equal(encode(new, schema)[:, 0], [1, np.nan, 0])


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([1.0, 2.5, np.nan], ["1", "2.5", None]),
        ([1234567.0, 1e-9], ["1234567", "1e-09"]),
        ([1, 2], ["1", "2"]),
        (["007", "1.0"], ["007", "1.0"]),
    ],
)
def test_values_are_written_as_short_as_they_can_be(values: object, written: object) -> None:
    found = texts(pd.Series(values)).astype(object)
    assert found.where(found.notna(), None).tolist() == written


def test_lists_and_categories_are_text() -> None:
    frame = pd.DataFrame({"l": [[1], [2], [1]], "c": pd.Categorical(["a", "b", "a"])})
    assert schema_of(frame).features == ["l = [1]", "l = [2]", "c = a", "c = b"]
