"""The shapes that modules take, as the rows of examples that the functions take."""

from collections.abc import Callable

from torch import Tensor

from gobj._checks import kind, require


def as_rows(
    function: str, logits: Tensor, num_labels: int
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return the way from the logits' shape to ``[n, num_labels]``, and the way back."""
    if num_labels == 1:
        return lambda x: x.reshape(-1, 1), lambda x: x.reshape(logits.shape) if x.dim() else x
    fine = logits.dim() > 1 and logits.shape[1] == num_labels
    require(fine, function, "logits", f"have {num_labels} labels in dimension 1", kind(logits))
    last = logits.movedim(1, -1).shape
    return (
        lambda x: x.movedim(1, -1).reshape(-1, num_labels),
        lambda x: x.reshape(last).movedim(-1, 1) if x.dim() else x,
    )
