"""The three pure steps behind every constrained loss: weigh, observe, update; and both orders."""

from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from gobj._batch import Sums, make_batch
from gobj._checks import REDUCTIONS, Number, Reduction, check_choice, refuse
from gobj._view import Call, View
from gobj.distributed import Group, is_sharded, shards, shared_by_ranks
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
    process_group: Group


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
    :func:`observe`, :func:`update` and :func:`weigh` in the order that the rule names. The default
    rule brings the constraint to its limit; where the cost is least before that, take
    :class:`gobj.DualAscent`.

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
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
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
        >>> missed = gobj.LinearForm(false_negative=1.0)
        >>> alarms = gobj.LinearForm(false_positive=1.0, negatives=-0.05)  # FPR <= 0.05
        >>> problem, state = gobj.Problem(missed, alarms), gobj.init_state()
        >>> logits, labels = torch.tensor([2.0, 1.0, -1.0]), torch.tensor([1, 0, 0])
        >>> loss, state = gobj.constrained_loss(problem, logits, labels, state)
        >>> loss.isfinite(), state.threshold.isfinite()
        (tensor(True), tensor(True))

    References:
        Eban et al., `Scalable Learning of Non-Decomposable Objectives
        <https://arxiv.org/abs/1608.04802>`_, AISTATS 2017.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    if is_sharded(logits):
        batch = problem, logits, labels, state
        both: tuple[Tensor, State]
        both = shards().on_shards(constrained_loss, *batch, reduction=reduction, **options)
        return both
    call = _make_call(problem, logits, labels, state, **options)
    if not call.rule.moves:
        call = call.scaled()
        return call.batch.reduce(View(call, call.seen_from()).charge(call), reduction), state
    view = View(call, call.state.threshold)
    call, sums = call.joined(view.sum())
    after = _moved(call.problem, state, call.state, sums, call.rule)
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
        process_group: Ranks whose batches are parts of one, by whose weight the mean divides; None
            for this process alone.
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
    check_choice("reduction", reduction, REDUCTIONS)
    if is_sharded(logits):
        more: Any = {"reduction": reduction, "total_weight": total_weight, **options}
        loss: Tensor = shards().on_shards(weigh, problem, logits, labels, state, **more)
        return loss
    call = _make_call(problem, logits, labels, state, **options)
    if total_weight is not None and reduction != "mean":
        refuse("total_weight", "be None unless `reduction` is 'mean'", total_weight)
    call = call.scaled(total_weight)
    return call.batch.reduce(View(call, call.seen_from()).charge(call), reduction)


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
        process_group: Ranks whose sums are added up; None for this process alone.

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
    if is_sharded(logits):
        sums: Sums = shards().on_shards(observe, problem, logits, labels, state, **options)
        return sums
    call = _make_call(problem, logits, labels, state, **options)
    return call.joined(View(call, call.state.threshold).sum())[1]


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
    process_group: Group = None,
) -> Call:
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
    if not rule.detached:
        duals = shared_by_ranks([state.multiplier, state.threshold], process_group)
        state = state._replace(multiplier=duals[0], threshold=duals[1])
    return Call(batch, rule, surrogate, state, problem, process_group).at(problem, state)


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
