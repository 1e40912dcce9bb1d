"""Labels: from the multiclass formats to the multilabel format that the losses take."""

import math

import torch
from torch import Tensor

from gobj._checks import check_count, refuse


def multilabel_from_multiclass(
    labels: Tensor,
    *,
    num_classes: int | None = None,
    positive_class: int | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    r"""Convert multiclass labels to the multilabel format, 1 for each class that holds.

    .. math:: y_{il} = 1[\text{example } i \text{ is of class } l]

    Args:
        labels: Integer classes of any shape ``[n, ...]`` if ``num_classes`` is given, else one-hot
            or probability rows ``[n, C]``, where a positive of two classes is ``[1, 0]``.
        num_classes: Number of classes :math:`C` of integer labels. A class outside of them gives a
            row of NaN, which makes every loss NaN.
        positive_class: Return the column of this class alone, as one binary label; by default the
            column 0 for one-hot rows of two classes, and all columns else.
        ignore_index: Class that marks an example as absent, neither 0 nor 1: its row is filled with
            this number, for the ``ignore_index`` of a loss. None for no such class.

    Returns:
        float32, ``[n, C]`` or ``[n, 1]``; for integer classes of shape ``[n, ...]`` the column
        stands in dimension 1.

    Raises:
        ValueError: If the labels do not have the format, or ``positive_class`` is out of range.

    Example:
        >>> import gobj, torch
        >>> gobj.multilabel_from_multiclass(torch.tensor([[1, 0], [0, 1]])).tolist()
        [[1.0], [0.0]]
        >>> gobj.multilabel_from_multiclass(torch.tensor([2, 0, 3]), num_classes=3)
        tensor([[0., 0., 1.],
                [1., 0., 0.],
                [nan, nan, nan]])

    References:
        The two formats are those of the `TensorFlow Global Objectives
        <https://github.com/tensorflow/models/tree/archive/research/global_objectives>`_ library.
    """
    if num_classes is None:
        if not (isinstance(labels, Tensor) and labels.dim() == 2 and not labels.is_complex()):
            refuse("labels", "have shape [n, C] without `num_classes`", labels)
        columns = labels.to(torch.float32)
        if columns.shape[1] == 2 and positive_class is None:
            positive_class = 0
    else:
        whole = isinstance(labels, Tensor) and labels.dim() > 0
        if not whole or labels.is_floating_point() or labels.is_complex():
            refuse("labels", "be integers of shape [n, ...]", labels)
        check_count("num_classes", num_classes)
        columns = _one_hot(labels.long(), num_classes, ignore_index)
    if ignore_index in (0, 1):
        refuse("ignore_index", "be no label of a class in a row, 0 or 1", ignore_index)
    if positive_class is None:
        return columns
    if not 0 <= positive_class < columns.shape[1]:
        refuse("positive_class", f"be one of {columns.shape[1]} classes", positive_class)
    return columns[:, positive_class : positive_class + 1]


def _one_hot(labels: Tensor, num_classes: int, ignore_index: int | None) -> Tensor:
    """Return a column for each class, in dimension 1."""
    labels = labels.unsqueeze(1)
    classes = torch.arange(num_classes, device=labels.device)
    columns = (labels == classes.reshape(-1, *[1] * (labels.dim() - 2))).to(torch.float32)
    known = (labels >= 0) & (labels < num_classes)
    columns = torch.where(known, columns, math.nan)
    return columns if ignore_index is None else columns.where(labels != ignore_index, ignore_index)
