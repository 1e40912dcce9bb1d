"""Labels: the multilabel format out of the multiclass ones."""

from typing import Any

import pytest
import torch
from torch import Tensor

import gobj
import gobj.nn


def test_two_one_hot_columns_become_the_column_of_the_positives() -> None:
    labels = gobj.multilabel_from_multiclass(torch.tensor([[1, 0], [0, 1], [1, 0]]))
    assert labels.tolist() == [[1], [0], [1]]


def test_one_hot_columns_of_more_classes_stay() -> None:
    rows = torch.eye(3)[[2, 0, 1, 1]]
    assert gobj.multilabel_from_multiclass(rows).tolist() == rows.tolist()


def test_probabilities_stay_as_they_are() -> None:
    rows = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    assert gobj.multilabel_from_multiclass(rows).tolist() == [[0.75], [0.5]]


def test_integer_classes_become_one_column_a_class() -> None:
    labels = gobj.multilabel_from_multiclass(torch.tensor([2, 0, 1]), num_classes=3)
    assert labels.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]


def test_a_class_that_nobody_has_keeps_its_column() -> None:
    labels = gobj.multilabel_from_multiclass(torch.tensor([1, 1]), num_classes=3)
    assert labels.tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("given", ["classes", "rows"])
def test_the_positive_class_can_be_named(given: str) -> None:
    classes = torch.tensor([2, 0, 1, 2])
    options: dict[str, Any] = {"num_classes": 3} if given == "classes" else {}
    labels = classes if given == "classes" else torch.eye(3)[classes]
    got = gobj.multilabel_from_multiclass(labels, positive_class=2, **options)
    assert got.tolist() == [[1], [0], [0], [1]]


def test_two_columns_follow_the_named_class() -> None:
    rows = torch.tensor([[1, 0], [0, 1]])
    assert gobj.multilabel_from_multiclass(rows, positive_class=1).tolist() == [[0], [1]]


def test_pixels_get_their_classes_in_dimension_one() -> None:
    classes = torch.arange(12).reshape(2, 2, 3) % 4
    labels = gobj.multilabel_from_multiclass(classes, num_classes=4)
    assert labels.shape == (2, 4, 2, 3)
    for image in range(2):
        for row in range(2):
            for column in range(3):
                one = [0.0] * 4
                one[classes[image, row, column]] = 1.0
                assert labels[image, :, row, column].tolist() == one


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64], ids=str)
def test_classes_of_any_integer_dtype_become_floats(dtype: torch.dtype) -> None:
    labels = gobj.multilabel_from_multiclass(torch.tensor([1, 0], dtype=dtype), num_classes=2)
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[0, 1], [1, 0]]


def test_the_given_labels_are_not_touched() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    gobj.multilabel_from_multiclass(rows)
    gobj.multilabel_from_multiclass(rows, positive_class=1)
    assert rows.tolist() == [[1, 0], [0, 1]]


def test_a_converted_batch_trains_a_module() -> None:
    classes = torch.tensor([0, 1, 2, 1, 0, 2])
    labels = gobj.multilabel_from_multiclass(classes, num_classes=3)
    logits = torch.zeros(6, 3, requires_grad=True)
    gobj.nn.RecallAtPrecisionLoss(0.9, num_labels=3)(logits, labels).backward()
    assert logits.grad is not None
    assert (logits.grad[labels > 0] < 0).all()


REFUSED: list[tuple[str, str, Tensor, dict[str, Any]]] = [
    ("classes without their number", "labels", torch.tensor([0, 1]), {}),
    ("rows of pixels", "labels", torch.ones(2, 3, 4), {}),
    ("fractional classes", "labels", torch.tensor([0.0, 1.0]), {"num_classes": 2}),
    ("a single class", "labels", torch.tensor(1), {"num_classes": 2}),
    ("no classes", "num_classes", torch.tensor([0]), {"num_classes": 0}),
    ("a positive class too high", "positive_class", torch.eye(3), {"positive_class": 3}),
    ("a negative positive class", "positive_class", torch.eye(3), {"positive_class": -1}),
    (
        "a positive class out of range",
        "positive_class",
        torch.tensor([0]),
        {"num_classes": 2, "positive_class": 2},
    ),
]


@pytest.mark.parametrize(
    ("argument", "labels", "options"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_has_not_the_format_is_refused(
    argument: str, labels: Tensor, options: dict[str, Any]
) -> None:
    form = rf"^multilabel_from_multiclass: `{argument}` must .+; got .+\.$"
    with pytest.raises(ValueError, match=form):
        gobj.multilabel_from_multiclass(labels, **options)
