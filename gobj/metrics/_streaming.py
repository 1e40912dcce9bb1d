"""Curves from batches: start, update, merge."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gobj._checks import Number, is_number, refuse
from gobj.distributed import Group, number_of_ranks
from gobj.metrics._buffer import ScoreBuffer
from gobj.metrics._examples import make_examples
from gobj.metrics._grid import ScoreGrid, empty_grid

CurveState = ScoreBuffer | ScoreGrid


def curve_init(
    labels: Sequence[int] = (),
    *,
    cells: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
) -> CurveState:
    """Start a curve without examples.

    Without ``cells`` every score is kept, the results are exact and memory grows with the examples.
    With ``cells`` the scores are counted on a grid that adapts to their range, in constant memory:
    areas are approximate, the rates at a returned threshold are still exact counts, of float64
    scores; of float32 scores up to those that rounding moves across it. Scores beyond 8.9e6 on
    either side share the outermost cell.

    Args:
        labels: Label shape; ``()`` for one binary problem.
        cells: Number of cells per label, at least 4: 1,024 give areas to 0.001 and the average
            precision of a hundred positives to 0.002; half-precision logits, whose ties fill
            neighbouring cells, want 4,096. None keeps every score.
        device: Where the state lives; default torch's.
        dtype: Of all that is kept and returned, float64 or float32. float32 halves the memory, and
            a cell of it counts only to 2^24, where adding 1 changes nothing.

    Returns:
        A NamedTuple of tensors: a :class:`ScoreBuffer`, or with ``cells`` a :class:`ScoreGrid`.

    Raises:
        ValueError: If ``cells`` or ``dtype`` is not as above.

    Example:
        >>> from gobj.metrics import curve_init
        >>> curve_init((3,), cells=1024).weights.shape
        torch.Size([3, 2, 1024])
    """
    if dtype not in (torch.float32, torch.float64):
        refuse("dtype", "be torch.float32 or torch.float64", dtype)
    start = torch.zeros(*labels, 0, device=device, dtype=dtype)
    if cells is None:
        return ScoreBuffer(start, start.new_zeros(*labels, 2, 0))
    if not (is_number(cells) and cells == int(cells) and cells >= 4):
        refuse("cells", "be a whole number of at least 4 or None", cells)
    return empty_grid(labels, cells, start)


def curve_update(
    state: CurveState,
    logits: Tensor,
    labels: Tensor,
    *,
    weights: Number | None = None,
    ignore_index: int | None = None,
) -> CurveState:
    """Add a batch to a curve.

    Without a grid any score that ranks will do: logits, or the probability of the positive class.
    On a grid pass logits, not probabilities: those of a confident model crowd at 0 and 1, within
    one cell (with 1,024 cells an ROC area of 0.854 was read as 0.839, an average precision of 0.478
    as 0.354). Of a two-column softmax pass column 1, ``probabilities[:, 1]``, or without its
    rounding the difference of the two logits, ``logits[:, 1] - logits[:, 0]``, of which it is the
    sigmoid.

    Args:
        state: From :func:`curve_init` or an earlier update.
        logits: Scores, any floating-point dtype, shape ``[n, *labels]``; infinite ones count as
            very large. A NaN makes its label's results NaN.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between (boolean,
            integer or float), shape of the logits. Another value makes its label's results NaN.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default. What has
            weight 0 is ignored, NaN or not.
        ignore_index: Label that marks an example as absent; None for no such label.

    Returns:
        The state for the next batch, detached; the given one is unchanged.

    Raises:
        ValueError: If a shape or dtype is not as above, or ``logits`` holds two class columns.

    Example:
        >>> import torch
        >>> from gobj.metrics import curve_compute, curve_init, curve_update
        >>> logits = torch.tensor([[2.0, 1.0], [1.0, 3.0], [0.5, 0.0], [-1.0, 0.0]])
        >>> labels = torch.tensor([0, 1, 0, 1])
        >>> state = curve_update(curve_init(), logits[:, 1] - logits[:, 0], labels)
        >>> curve_compute(state)["roc_auc"].item()
        1.0
        >>> state = curve_update(curve_init(), logits.softmax(1)[:, 1], labels)
        >>> curve_compute(state)["roc_auc"].item()
        1.0
        >>> curve_update(curve_init(), logits.softmax(1), labels)
        Traceback (most recent call last):
            ...
        ValueError: curve_update: `logits` must hold one score per label: of two class columns \
pass the positive class's, `probabilities[..., 1]`, or `logits[..., 1] - logits[..., 0]`; got \
a tensor of torch.float32 and shape [4, 2].
    """
    check_state(state)
    examples = make_examples(state.weights, logits, labels, weights, ignore_index)
    return state.add(examples)


def curve_merge(*states: CurveState, process_group: Group = None) -> CurveState:
    """Combine the curves of shards, ranks or micro-batches into the curve of all their examples.

    Args:
        states: At least one, all of one kind, label shape and number of cells.
        process_group: Ranks whose curves are combined as well, each of which gets the result; None
            for this process alone. A grid sends its cells, a buffer every score.

    Returns:
        The state that one curve fed with every batch would have, up to the order of a buffer and
        the rounding of non-integer weights.

    Raises:
        ValueError: If the states do not fit together.

    Example:
        >>> import torch
        >>> from gobj.metrics import curve_compute, curve_init, curve_merge, curve_update
        >>> scores, labels = torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0, 1, 1])
        >>> shards = [curve_update(curve_init(), scores[i::2], labels[i::2]) for i in (0, 1)]
        >>> curve_compute(curve_merge(*shards))["positives"].item()
        2.0
    """
    if not states:
        refuse("states", "hold at least one state", states)
    kinds = {_describe(state) for state in states}
    if len(kinds) > 1:
        refuse("states", "be of one kind and shape", sorted(kinds))
    merged: Any = states[0]
    for state in states[1:]:
        merged = merged.merge(state)
    if number_of_ranks(process_group) > 1:
        merged = merged.over_ranks(process_group)
    result: CurveState = merged
    return result


def check_state(state: CurveState) -> None:
    """Require one of the two kinds of state."""
    if not isinstance(state, ScoreBuffer | ScoreGrid):
        refuse("state", "come from curve_init", type(state))


def _describe(state: CurveState) -> str:
    """Name what two states must share to be merged."""
    check_state(state)
    shape = state.weights.shape[:-2] if isinstance(state, ScoreBuffer) else state.weights.shape
    return f"{type(state).__name__} of shape {list(shape)}"
