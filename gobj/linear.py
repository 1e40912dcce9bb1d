"""The loss of a linear head with so many labels that its logits do not fit into memory."""

from functools import partial
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import grad_and_value
from torch.nn import functional

from gobj._batch import widen
from gobj._checks import check_count, refuse
from gobj.constrained import Options, constrained_loss
from gobj.distributed import is_sharded, shards
from gobj.initial import rule_of
from gobj.problem import AnyProblem, Problem
from gobj.state import State, leaves, unflatten


def linear_constrained_loss(
    problem: AnyProblem,
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    state: State,
    *,
    bias: Tensor | None = None,
    chunk_size: int = 256,
    **options: Unpack[Options],
) -> tuple[Tensor, State]:
    r"""Minimise the cost of a problem subject to its constraint, at the logits of a linear head.

    .. math:: f = h W^\top + b

    It is :func:`constrained_loss` of these logits for any number of labels :math:`L`: they are
    formed for ``chunk_size`` labels at a time, and are gone once the gradient of the chunk is
    known, which is in the forward pass. So memory beside that of the arguments and of twice their
    gradients grows with ``n * chunk_size`` and not with ``n * L``. To leave a state as it is, give
    ``rule.frozen()`` for its rule.

    Args:
        problem: As for :func:`constrained_loss`.
        hidden: What the head is applied to, shape ``[n, h]``.
        weight: One row per label, shape ``[L, h]``, as in ``torch.nn.Linear``; a ``DTensor`` whose
            rows are sharded is worked on by each rank for its own labels, and then what is plain
            is the same on all of them.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between, shape
            ``[n, L]``; or a sparse tensor of that shape that holds what is not 0, each place once.
        state: What came back from the batch before; ``gobj.init_state((L,))`` makes the first.
        bias: Shape ``[L]``; None for none.
        chunk_size: Number of labels whose logits are formed at once.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, L]``; 1 by default.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own.
        rule: How multiplier and threshold follow the batches: the rule that ``state`` was made
            for, by default that of :func:`gobj.init_state`, or :class:`gobj.FrozenDual`.
        label_priors: Share of positives in the constant term, in [0, 1], broadcasts to ``[L]``; by
            default the batch's own.
        ignore_index: Label that marks an example as absent; None for no such label.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone. Each chunk is
            added up by itself.

    Returns:
        The mean of the loss over labels, which differentiates once with respect to ``hidden``,
        ``weight`` and ``bias``, and the state for the next batch, detached.

    Raises:
        ValueError: If a shape, a dtype or the state is not as above.

    Example:
        >>> import gobj, torch
        >>> hidden, head = torch.randn(8, 4), torch.nn.Linear(4, 1000)
        >>> places = torch.stack([torch.arange(8), torch.arange(8) * 100])
        >>> labels = torch.sparse_coo_tensor(
        ...     places, torch.ones(8), (8, 1000), check_invariants=True
        ... )
        >>> problem, state = gobj.recall_at_precision(0.9), gobj.init_state((1000,))
        >>> loss, state = gobj.linear_constrained_loss(
        ...     problem, hidden, head.weight, labels, state, bias=head.bias
        ... )
        >>> loss.backward()
        >>> head.weight.grad.shape, state.threshold.shape
        (torch.Size([1000, 4]), torch.Size([1000]))

    References:
        The gradient in the forward pass, chunk by chunk, follows `Liger kernels
        <https://arxiv.org/abs/2410.10989>`_, 2024.
    """
    _check_head(hidden, weight, bias, labels)
    check_count("chunk_size", chunk_size)
    for name, value in options.items():
        if name not in Options.__annotations__:
            refuse(name, "not be given to the loss of a linear head", value)
    if not rule_of(state, options.get("rule")).detached:
        refuse("rule", "move the state itself", options["rule"])
    if state.threshold.shape[:1] != weight.shape[:1]:
        made = f"have the label shape [{len(weight)}], by init_state(({len(weight)},))"
        refuse("state", made, state.threshold)
    if is_sharded(hidden) or is_sharded(weight):
        whole = problem, hidden, weight, labels, state, bias
        both: tuple[Tensor, State]
        both = shards().head_on_shards(
            linear_constrained_loss, *whole, chunk_size=chunk_size, **options
        )
        return both
    if labels.layout != torch.strided:
        labels = labels.to_sparse(layout=torch.sparse_coo).coalesce()
    head: list[Tensor] = [hidden, weight] if bias is None else [hidden, weight, bias]
    needed = [torch.is_grad_enabled() and tensor.requires_grad for tensor in head]
    slopes, loss, states = _Slopes(needed), torch.zeros((), device=hidden.device), []
    with torch.no_grad():
        for start in range(0, len(weight), chunk_size):
            rows: slice = slice(start, min(start + chunk_size, len(weight)))
            chunk: _Chunk = _Chunk(rows, len(weight))
            of_chunk = partial(chunk.loss, problem, labels, state, options)
            part = [hidden, *(tensor[rows] for tensor in head[1:])]
            logits = widen(functional.linear(*part))
            if any(needed):
                slope, (cost, after) = grad_and_value(of_chunk, has_aux=True)(logits)
                slopes.add(slope, part, chunk)
            else:
                cost, after = of_chunk(logits)
            loss = loss + cost
            states.append(leaves(after))
        joined: State = unflatten(state, map(torch.cat, zip(*states, strict=True)))
    if not any(needed):
        return loss, joined
    inputs = [tensor for tensor, need in zip(head, needed, strict=True) if need]
    apply: Any = _Known.apply
    return apply(loss, len(inputs), *slopes.known(), *inputs), joined


class _Chunk(NamedTuple):
    """Some of a number of labels."""

    rows: slice
    number: int

    def loss(
        self,
        problem: AnyProblem,
        labels: Tensor,
        state: State,
        options: Any,
        logits: Tensor,
    ) -> tuple[Tensor, State]:
        """Return what the labels add to the mean, and their next state."""
        options = {
            name: self.columns(value, least=2 if name == "weights" else 1)
            for name, value in options.items()
        }
        if isinstance(problem, Problem):  # that of an area follows its state
            problem = unflatten(problem, map(self.columns, leaves(problem)))
        own: State = unflatten(state, (leaf[self.rows] for leaf in leaves(state)))
        cost, after = constrained_loss(
            problem, logits, self.of_labels(labels, logits), own, **options
        )
        return cost * (logits.shape[1] / self.number), after

    def columns(self, value: Any, least: int = 1) -> Any:
        """Take the labels out of the last dimension, if there is one of their number."""
        some = isinstance(value, Tensor) and value.dim() >= least
        return value[..., self.rows] if some and value.shape[-1] == self.number else value

    def of_labels(self, labels: Tensor, like: Tensor) -> Tensor:
        """Take columns of labels; those of a sparse tensor are filled in."""
        if labels.layout == torch.strided:
            return labels[:, self.rows]
        row, column = labels.indices()
        width = like.shape[1]
        inside = (column >= self.rows.start) & (column < self.rows.stop)
        # what belongs to other labels falls into one more column
        place = row * (width + 1) + torch.where(inside, column - self.rows.start, width)
        filled = like.new_zeros(like.shape[0] * (width + 1))
        values = labels.values().to(like.dtype)
        return filled.scatter_add(0, place, values).view(-1, width + 1)[:, :width]


class _Slopes:
    """Gradients of the head, filled in chunk by chunk, in float32 or wider.

    A slope in a logit is a small share of the loss. So that half precision can hold it, products
    are taken of what is about 1, and scaled back.
    """

    def __init__(self, needed: list[bool]) -> None:
        self.needed = needed
        self.filled: list[Tensor | None] = [None] * len(needed)

    def add(self, slope: Tensor, part: list[Tensor], chunk: "_Chunk") -> None:
        """Add what a chunk contributes, given the gradient of its logits."""
        hidden, weight = part[:2]
        scale = chunk.number * max(len(hidden), 1) ** 0.5
        scaled = (slope * scale).to(weight.dtype)
        if self.needed[0]:
            new, old = widen(scaled @ weight) / scale, self.filled[0]
            self.filled[0] = new if old is None else old + new
        if self.needed[1]:
            self._fill(1, widen(scaled.mT @ hidden) / scale, chunk)
        if self.needed[2:] == [True]:
            self._fill(2, slope.sum(0), chunk)

    def _fill(self, index: int, rows: Tensor, chunk: "_Chunk") -> None:
        filled = self.filled[index]
        if filled is None:  # made of what fills it, which a transform may have mapped
            filled = self.filled[index] = rows.new_empty(chunk.number, *rows.shape[1:])
        filled[chunk.rows] = rows

    def known(self) -> list[Tensor]:
        """Return the gradients that are needed."""
        return [slope for slope in self.filled if slope is not None]


class _Known(torch.autograd.Function):
    """A loss whose gradients are known already: as many inputs follow as there are gradients."""

    generate_vmap_rule = True

    @staticmethod
    def forward(loss: Tensor, number: int, *tensors: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.dtypes = [tensor.dtype for tensor in inputs[2 + inputs[1] :]]
        ctx.save_for_backward(*inputs[2 : 2 + inputs[1]])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        known = ctx.saved_tensors
        # before the cast, so that a loss that has been scaled up finds what half precision loses
        slopes = ((gradient * slope).to(x) for slope, x in zip(known, ctx.dtypes, strict=True))
        return None, None, *(None for _ in known), *slopes


def _check_head(hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> None:
    """Require a head that fits what it is applied to, and labels that fit both."""
    for name, tensor in (("hidden", hidden), ("weight", weight)):
        if not (isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.dim() == 2):
            refuse(name, "be a floating-point tensor of two dimensions", tensor)
    if weight.shape[1] != hidden.shape[1] or len(weight) == 0:
        refuse("weight", f"have shape [L, {hidden.shape[1]}]", weight)
    if bias is not None and bias.shape != weight.shape[:1]:
        refuse("bias", f"have shape [{len(weight)}]", bias)
    if not (isinstance(labels, Tensor) and labels.shape == (len(hidden), len(weight))):
        refuse("labels", f"have shape {[len(hidden), len(weight)]}", labels)
