"""Labels: from the multiclass formats to the multilabel format that the losses take."""

import torch
from torch import Tensor

from gobj._checks import check_number, kind, require


def multilabel_from_multiclass(
    labels: Tensor, *, num_classes: int | None = None, positive_class: int | None = None
) -> Tensor:
    r"""Convert multiclass labels to the multilabel format, 1 for each class that holds.

    .. math:: y_{il} = 1[\text{example } i \text{ is of class } l]

    Args:
        labels: Integer classes of any shape ``[n, ...]`` if ``num_classes`` is given, else one-hot
            or probability rows ``[n, C]``, where a positive of two classes is ``[1, 0]``.
        num_classes: Number of classes :math:`C` of integer labels.
        positive_class: Return the column of this class alone, as one binary label; by default the
            column 0 for one-hot rows of two classes, and all columns else.

    Returns:
        float32, ``[n, C]`` or ``[n, 1]``; for integer classes of shape ``[n, ...]`` the column
        stands in dimension 1.

    Raises:
        ValueError: If the labels do not have the format, or a class is out of range.

    Example:
        >>> import gobj, torch
        >>> gobj.multilabel_from_multiclass(torch.tensor([[1, 0], [0, 1]])).tolist()
        [[1.0], [0.0]]
        >>> gobj.multilabel_from_multiclass(torch.tensor([2, 0]), num_classes=3).tolist()
        [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]

    References:
        The two formats are those of the `TensorFlow Global Objectives
        <https://github.com/tensorflow/models/tree/archive/research/global_objectives>`_ library.
    """
    name = "multilabel_from_multiclass"
    if num_classes is None:
        fine = labels.dim() == 2
        require(fine, name, "labels", "have shape [n, C] without `num_classes`", kind(labels))
        columns = labels.to(torch.float32)
        if columns.shape[1] == 2 and positive_class is None:
            positive_class = 0
    else:
        whole = not (labels.is_floating_point() or labels.is_complex() or labels.dim() == 0)
        require(whole, name, "labels", "be integers of shape [n, ...]", kind(labels))
        check_number(name, "num_classes", num_classes, low=1, closed=True)
        classes = torch.arange(num_classes, device=labels.device)
        classes = classes.reshape(-1, *[1] * (labels.dim() - 1))
        columns = (labels.unsqueeze(1) == classes).to(torch.float32)
    if positive_class is None:
        return columns
    last = columns.shape[1] - 1
    check_number(name, "positive_class", positive_class, low=0, high=last, closed=True)
    return columns[:, positive_class : positive_class + 1]
