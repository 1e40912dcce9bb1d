"""The three pure steps behind every constrained loss: weigh, observe, update; and both orders."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor
from torch.autograd import forward_ad

from gobj._batch import Batch, Points, Sums, join, make_batch
from gobj._checks import REDUCTIONS, Number, Reduction, check_choice, refuse
from gobj.duals.rule import DualRule
from gobj.initial import rule_of
from gobj.problem import AnyProblem, Problem, check_problem, problem_at
from gobj.state import AreaState, DualState, State, cast, keep_usable, leaves, unflatten
from gobj.surrogates import Surrogate

RATE_OF_RATES = 0.1  # weight of a batch in the rates that an area keeps
MAX_AVERAGE = 1e6  # a batch with a larger average leaves the state as it was

AnyState = DualState | AreaState


class Options(TypedDict, total=False):
    """The keyword arguments of every step; :func:`constrained_loss` explains them."""

    weights: Number | None
    surrogate: Surrogate | None
    rule: DualRule | None
    label_priors: Number | None
    ignore_index: int | None


class LossOptions(Options, total=False):
    """The keyword arguments of every loss with a state; :func:`constrained_loss` explains them."""

    reduction: Reduction


def constrained_loss(
    problem: AnyProblem,
    logits: Tensor,
    labels: Tensor,
    state: State,
    *,
    reduction: Reduction = "mean",
    **options: Unpack[Options],
) -> tuple[Tensor, State]:
    r"""Minimise the cost of a problem subject to its constraint: any objective of your own.

    .. math:: \min c \quad\text{s.t.}\quad g \le 0

    for two linear forms of joint rates. The named losses are short uses of this function, which is
    :func:`observe`, :func:`update` and :func:`weigh` in the order that the rule names.

    Args:
        problem: Pair of linear forms, such as ``gobj.recall_at_precision(0.9)``; for an area a
            function of its state that returns one, such as ``gobj.roc_auc()``.
        logits: Scores of the examples, shape ``[n, *labels]``; any floating dtype, computed in
            float32 or wider.
        labels: 1 for a positive, 0 for a negative, or the share of a positive in between (boolean,
            integer or float), shape of the logits. Another value makes the loss NaN.
        state: What came back from the batch before; :func:`gobj.init_state` makes the first.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default. They count
            in cost and constraint alike, and only their ratios matter. An example with weight 0,
            such as a missing label, is as if absent, even where it is NaN.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own.
        rule: How multiplier and threshold follow the batches: the rule that ``state`` was made
            for, by default that of :func:`gobj.init_state`, or :class:`gobj.FrozenDual`.
        label_priors: Share of positives in the constant term, in [0, 1], broadcasts to
            ``[*labels]``; by default the batch's own.
        ignore_index: Label that marks an example as absent; None for no such label.
        reduction: ``"mean"`` over labels of the weighted average over examples, ``"none"`` for a
            loss per example with that mean and the logits' shape, ``"sum"`` for the sum of those.

    Returns:
        The loss, which differentiates with respect to the logits alone, and the state for the next
        batch, detached. A batch that is empty, has no weight, is not finite or has an average
        beyond a million leaves the state as it was.

    Raises:
        ValueError: If a shape, a dtype or the state is not as above.

    Example:
        >>> import gobj, torch
        >>> cost = gobj.LinearForm(false_negative=10.0, false_positive=1.0)
        >>> alarms = gobj.LinearForm(false_positive=1.0, negatives=-0.05)  # FPR <= 0.05
        >>> problem, state = gobj.Problem(cost, alarms), gobj.init_state()
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.constrained_loss(problem, logits, labels, state)
        >>> loss.isfinite(), state.threshold.isfinite()
        (tensor(True), tensor(True))

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    call = _make_call(problem, logits, labels, state, **options)
    check_choice("reduction", reduction, REDUCTIONS)
    if not call.rule.moves:
        return call.batch.reduce(_View(call, call.seen_from()).charge(call), reduction), state
    view = _View(call, call.state.threshold)
    after = _moved(call.problem, state, call.state, view.sum(), call.rule)
    if call.rule.order == "update_first":
        call = call.at(problem, after)
    return call.batch.reduce(view.charge(call), reduction), after


def weigh(
    problem: AnyProblem,
    logits: Tensor,
    labels: Tensor,
    state: State,
    *,
    reduction: Reduction = "mean",
    total_weight: Number | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Return the loss at a state, which is left alone.

    The loss depends on this state and on each example by itself, never on other examples. Under a
    rule that updates first, examples are seen from ``previous_threshold``, as they were observed:
    it is the loss that :func:`constrained_loss` returned with this state. So a forward pass that is
    computed again gives the same loss, and the losses of parts of a batch add up to the loss of the
    whole if each is divided by the weight of the whole:

    .. math:: L = \frac{1}{W} \sum_{\text{parts}} \sum_i w_i\, \ell(f_i, y_i; \text{state})

    Args:
        problem: As for :func:`constrained_loss`, and likewise the others but the last.
        logits: Scores of the examples, shape ``[n, *labels]``.
        labels: Share of a positive that each example is, in [0, 1], shape of the logits.
        state: The state at which the loss is taken.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own.
        rule: The rule that ``state`` was made for, or :class:`gobj.FrozenDual`.
        label_priors: Share of positives in the constant term; by default the batch's own.
        ignore_index: Label that marks an example as absent; None for no such label.
        reduction: ``"mean"``, ``"sum"`` or ``"none"``, as for :func:`constrained_loss`.
        total_weight: The weight that the mean divides by: ``weight`` of the sums of several parts,
            or the number of their examples; by default that of the batch.

    Returns:
        The loss.

    Raises:
        ValueError: If a shape, a dtype or the state is not as above.

    Example:
        A batch in two parts has the loss, and the gradient, of the whole.

        >>> import gobj, torch
        >>> problem, state = gobj.recall_at_precision(0.9), gobj.init_state()
        >>> logits, labels = torch.linspace(-1, 1, 10), torch.arange(10) > 6
        >>> parts = [(logits[rows], labels[rows]) for rows in (slice(0, 3), slice(3, 10))]
        >>> first, second = (gobj.observe(problem, *part, state) for part in parts)
        >>> after = gobj.update(problem, state, first + second)
        >>> total = (first + second).weight
        >>> loss = sum(gobj.weigh(problem, *part, after, total_weight=total) for part in parts)
        >>> whole, after_whole = gobj.constrained_loss(problem, logits, labels, state)
        >>> torch.allclose(loss, whole)
        True
        >>> torch.allclose(after.threshold, after_whole.threshold)
        True

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    call = _make_call(problem, logits, labels, state, **options)
    check_choice("reduction", reduction, REDUCTIONS)
    if total_weight is not None:
        if reduction != "mean":
            refuse("total_weight", "be None unless `reduction` is 'mean'", total_weight)
        total = call.batch.with_total(total_weight, several=isinstance(state, AreaState))
        call = call._replace(batch=total)
    return call.batch.reduce(_View(call, call.seen_from()).charge(call), reduction)


def observe(
    problem: AnyProblem,
    logits: Tensor,
    labels: Tensor,
    state: State,
    **options: Unpack[Options],
) -> Sums:
    r"""Sum over examples what the next state follows from.

    .. math:: S = \sum_i w_i\, \phi(f_i, y_i; \text{state})

    The sums of two batches, observed at the same state, add up to those of the joined batch.

    Args:
        problem: As for :func:`constrained_loss`, and likewise the others.
        logits: Scores of the examples, shape ``[n, *labels]``.
        labels: Share of a positive that each example is, in [0, 1], shape of the logits.
        state: The state that is to be updated.
        weights: At or above 0, scalar, ``[n]`` or up to ``[n, *labels]``; 1 by default.
        surrogate: Upper bound of the indicator of an error, for a rule that has one; by default the
            rule's own.
        rule: The rule that ``state`` was made for.
        label_priors: Share of positives in the constant term; by default the batch's own.
        ignore_index: Label that marks an example as absent; None for no such label.

    Returns:
        The sums, each of the shape of the multiplier, detached.

    Raises:
        ValueError: If a shape, a dtype or the state is not as above.

    Example:
        >>> import gobj, torch
        >>> problem, state = gobj.recall_at_precision(0.9), gobj.init_state()
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> sums = gobj.observe(problem, logits, labels, state)
        >>> sums.weight, sums.true_positives, sums.false_positives
        (tensor(3.), tensor(1.), tensor(1.))

    References:
        See :func:`weigh`, whose example adds the sums of two parts.
    """
    call = _make_call(problem, logits, labels, state, **options)
    return _View(call, call.state.threshold).sum()


def update(
    problem: AnyProblem,
    state: State,
    sums: Sums,
    *,
    rule: DualRule | None = None,
) -> State:
    r"""Return the next state, given the sums over a batch; no data is needed.

    .. math:: \text{state}' = u(\text{state}, S / W)

    Args:
        problem: As for :func:`observe`.
        state: The state at which the sums were observed.
        sums: From :func:`observe`, added up over the parts of the batch.
        rule: The rule that ``state`` was made for.

    Returns:
        The state for the next batch, detached. Sums without weight, and sums that are not finite,
        leave it as it was.

    Raises:
        ValueError: If the state is not one of the rule and the problem, or the sums are none.

    Example:
        >>> import gobj, torch
        >>> problem, state = gobj.recall_at_precision(0.9), gobj.init_state()
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> sums = gobj.observe(problem, logits, labels, state)
        >>> bool(gobj.update(problem, state, sums).threshold > state.threshold)
        True

    References:
        See :func:`weigh`.
    """
    rule = rule_of(state, rule)
    check_problem(problem, state)
    if not isinstance(sums, Sums):
        refuse("sums", "come from gobj.observe", type(sums))
    before = cast(state, sums.weight.dtype)
    after: State = _moved(problem_at(problem, before), state, before, sums, rule)
    return after


class _Call(NamedTuple):
    """A checked call at a state, which is in the dtype of the batch, and the problem there."""

    batch: Batch
    rule: DualRule
    surrogate: Surrogate | None
    state: Any
    problem: Any

    def at(self, problem: AnyProblem, state: AnyState) -> "_Call":
        """Return the same call at another state."""
        state = cast(state, self.batch.scores.dtype, constant=self.rule.detached)
        return self._replace(state=state, problem=problem_at(problem, state))

    def seen_from(self) -> Any:
        """Return the threshold from which the state was last updated, or is to be."""
        first = self.rule.order == "update_first"
        return self.state.previous_threshold if first else self.state.threshold


def _make_call(
    problem: AnyProblem,
    logits: Tensor,
    labels: Tensor,
    state: AnyState,
    weights: Number | None = None,
    surrogate: Surrogate | None = None,
    rule: DualRule | None = None,
    label_priors: Number | None = None,
    ignore_index: int | None = None,
) -> _Call:
    """Check the arguments of a step and clean its batch."""
    label_priors = label_priors.detach() if isinstance(label_priors, Tensor) else label_priors
    batch = make_batch(logits, labels, weights, label_priors, ignore_index)
    rule = rule_of(state, rule)
    check_problem(problem, state)
    of_state, labels_shape = state.threshold.shape, logits.shape[1:]
    if (of_state[:-1] if isinstance(state, AreaState) else of_state) != labels_shape:
        made = f"have the label shape {list(labels_shape)}, by init_state({tuple(labels_shape)})"
        refuse("state", made, state.threshold)
    if surrogate is None:
        surrogate = rule.surrogate
    elif rule.surrogate is None or not isinstance(surrogate, Surrogate):
        refuse("surrogate", "be a gobj.Surrogate, and None for a rule without one", surrogate)
    return _Call(batch, rule, surrogate, state, problem).at(problem, state)


class _View:
    """The examples of a call seen from a threshold, in blocks that are looked at one by one.

    What sums and charges share is measured once and kept; but for an area of many examples, where
    it would take too much memory, it is measured again. Nothing is recorded for ``backward`` but
    what each example costs, and how fast that rises with its score.
    """

    def __init__(self, call: _Call, threshold: Tensor) -> None:
        self.call, self.threshold = call, threshold
        self.several = isinstance(call.state, AreaState)
        # the compiler joins passes and differentiates them; so does forward mode, at any depth
        self.fused = torch.compiler.is_compiling() or _has_tangent(call, threshold)
        self.blocks = call.batch.blocks(threshold.shape[-1] if self.several else 1)
        self.kept: list[Any] | None = None
        if not self.several or len(self.blocks) == 1:
            self.kept = self.each(lambda *measured: measured)

    def each(self, use: Callable[..., Any]) -> list[Any]:
        """Return what a function makes of the points and measures of every block."""
        with torch.set_grad_enabled(self.fused and torch.is_grad_enabled()):
            if self.kept is not None:
                return [use(*measured) for measured in self.kept]
            found = []
            for block in self.blocks:
                seen = block if self.fused else block._replace(scores=block.scores.detach())
                points = seen.points(self.threshold, several=self.several)
                found.append(use(points, self.call.rule.measure(points, self.call.surrogate)))
            return found

    def sum(self) -> Sums:
        """Return the sums over all examples."""
        batch, rule, _, state, problem = self.call
        total = batch.total.unsqueeze(-1) if self.several else batch.total

        def add_up(points: Points, measures: Any) -> Sums:
            return points.count_up(total, rule.observe(points, measures, problem, state))

        with torch.no_grad():
            sums = join(self.each(add_up))._replace(weight=total)
            shape = self.threshold.shape  # what belongs to a label counts at each of its anchors
            same = (x if x.shape == shape else x.expand(shape) for x in leaves(sums))
            joined: Sums = unflatten(sums, (x.detach() for x in same) if self.fused else same)
            return joined

    def charge(self, call: _Call) -> Tensor:
        """Return what each example costs at the state of a call, ``[n, *labels]``."""
        rule = call.rule
        prices = rule.prices(call.problem, call.state)

        def again(*inputs: Tensor) -> Tensor:
            scores, labels, prior, threshold, *tensors = inputs
            block = Batch(scores, labels, prior, None, call.batch.total)
            points = block.points(threshold, several=self.several)
            measures = rule.measure(points, call.surrogate)
            return rule.charge(points, measures, unflatten(prices, tensors))[0]

        charges = self.each(lambda points, measures: rule.charge(points, measures, prices))
        parts: list[Tensor] = [costs for costs, _ in charges]
        if not self.fused:
            apply: Any = _Charged.apply
            shared = self.threshold, *leaves(prices)
            pairs = zip(charges, self.blocks, strict=True)
            parts = [apply(again, *each, *block[:3], *shared) for each, block in pairs]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Charged(torch.autograd.Function):
    """Costs that are known, with their slopes, as a function of all that they depend on."""

    generate_vmap_rule = True

    @staticmethod
    def forward(charge: Any, costs: Tensor, slopes: Tensor, *inputs: Tensor) -> Tensor:
        return costs.view_as(costs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.charge = inputs[0]
        ctx.save_for_backward(*inputs[2:])  # vmap wants the same for both modes
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        slopes, *inputs = ctx.saved_tensors
        if not (torch.is_grad_enabled() or any(ctx.needs_input_grad[4:])):
            return None, None, None, gradient * slopes, *(None for _ in inputs[1:])
        # to be differentiated again, or in more than the scores: by operations that are recorded
        vjp: Any = torch.func.vjp
        return None, None, None, *vjp(ctx.charge, *inputs)[1](gradient)

    @staticmethod
    def jvp(ctx: Any, _: None, costs: Tensor, slopes: Tensor, *tangents: Tensor | None) -> Any:
        """Move on in forward mode above reverse mode: twice backwards is forwards."""
        inputs = ctx.saved_tensors[1:]
        pairs = zip(inputs, tangents, strict=True)
        moves = tuple(torch.zeros_like(x) if move is None else move for x, move in pairs)
        vjp: Any = torch.func.vjp
        out, pull = vjp(ctx.charge, *inputs)
        return vjp(pull, torch.zeros_like(out))[1](moves)[0]


def _has_tangent(call: _Call, threshold: Tensor) -> bool:
    """Tell whether derivatives are taken in forward mode."""
    inputs = call.batch.scores, threshold, *leaves(call.state)
    unpack: Any = forward_ad.unpack_dual
    return any(unpack(x).tangent is not None for x in inputs)


def _moved(problem: Problem, state: Any, before: Any, sums: Sums, rule: DualRule) -> Any:
    """Return the state one batch later, at the points where the batch is usable.

    ``before`` is the state in the dtype of the sums.
    """
    if not rule.moves:
        return state
    with torch.no_grad():
        table = torch.stack(leaves(sums), -1)
        table = table / table[..., :1]  # the first is the weight: without any, all is NaN
        after = rule.update(problem, before, unflatten(sums, table.unbind(-1)))
        after = after._replace(previous_threshold=before.threshold)
        if isinstance(state, AreaState):
            rates = torch.lerp(before.rates, table[..., 1:4], RATE_OF_RATES)
            after = after._replace(rates=rates)
        kept = keep_usable(state, after, table.abs().amax(-1) < MAX_AVERAGE)
    if not isinstance(state, AreaState):
        return kept if rule.detached else state
    if not rule.detached:  # an optimiser moves the rest
        return state._replace(rates=kept.rates)
    return kept._replace(anchors=state.anchors.detach().clone())
