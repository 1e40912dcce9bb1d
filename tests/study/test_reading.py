"""Files read whole, in batches, as a sample, and shared by ranks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gobj.study import reading
from gobj.study.ranks import Ranks
from gobj.study.reading import read_rows, sample

FRAME = pd.DataFrame({"x": np.arange(120.0), "y": np.arange(120) % 2})


def test_a_sample_of_batches_is_that_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "BATCH", 7)
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    rows = read_rows(tmp_path / "t.csv", ",", "utf-8", 25, Ranks())
    whole = sample(FRAME, 120, 0, 25)
    assert (rows.used, rows.found) == (25, 120)
    np.testing.assert_array_equal(rows.numbers, whole.numbers)
    np.testing.assert_array_equal(rows.frame.x.astype(float), whole.frame.x)
    np.testing.assert_array_equal(whole.frame.x, whole.numbers)


def test_a_table_that_is_small_enough_is_used_as_it_is() -> None:
    rows = sample(FRAME, 120, 0, 120)
    pd.testing.assert_frame_equal(rows.frame, FRAME)


@pytest.mark.parametrize("most", [1000, 31])
def test_ranks_hold_the_rows_of_the_folder_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for index, part in enumerate(np.array_split(np.arange(120), 5)):
        FRAME.iloc[part].to_parquet(tmp_path / f"{index}.parquet")
    whole = read_rows(tmp_path, ",", "utf-8", most, Ranks())
    shares = []
    monkeypatch.setattr(Ranks, "number", 2)
    for rank in range(2):
        monkeypatch.setattr(Ranks, "rank", rank)
        shares.append(read_rows(tmp_path, ",", "utf-8", most, Ranks()))
    assert [share.first for share in shares] == [0, len(shares[0].frame)]
    joined = pd.concat([share.frame for share in shares], ignore_index=True)
    pd.testing.assert_frame_equal(joined, whole.frame)


def test_text_stays_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("code,n\n007,1\n1e3,2\n")
    rows = read_rows(tmp_path / "t.csv", ",", "utf-8", 100, Ranks())
    assert rows.frame.code.tolist() == ["007", "1e3"]


@pytest.mark.parametrize(
    ("content", "sep", "encoding", "message"),
    [
        (b"a;b\n1;2\n", ",", "utf-8", "`--sep` must part the columns; try --sep ';'; got ','"),
        (b"a\tb\n1\t2\n", ",", "utf-8", r"try --sep '\\t'"),
        (b"a,b\n1,2\n", ";", "utf-8", "try --sep ','"),
        (b"a,b\n\xe9,2\n", ",", "utf-8", "`--encoding` must be that of .*latin-1"),
        (b"a,b\n1,2\n", ",", "elvish", "`--encoding` must be that of .*elvish"),
        (b"", ",", "utf-8", "`DATA` must be readable"),
        (b"a,b\n1,2,3\n1,2,3,4\n", ",", "utf-8", "`DATA` must be readable"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_what_to_try(
    tmp_path: Path, content: bytes, sep: str, encoding: str, message: str
) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_rows(tmp_path / "t.csv", sep, encoding, 100, Ranks())


def test_latin_one_is_read_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("a;b\né;2\n".encode("latin-1"))
    rows = read_rows(tmp_path / "t.csv", ";", "latin-1", 100, Ranks())
    assert rows.frame.a.tolist() == ["é"]
