"""Cost of each element of a multi-class problem, from class indices or target distributions."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, FunctionCtx
from torch.nn import functional

from gobj._attached import compiles_transforms
from gobj._checks import check_number, kind, require
from gobj.losses._weighting import bound, drop_weightless, weigh

ABSENT = -100
WeightForm = Literal["whole", "ce_only", "pt_scaled"]


class Poly1(NamedTuple):
    """Poly-1 cost as a function of the log-probability of the right class."""

    epsilon: float
    class_weights: Tensor | None
    form: WeightForm

    def gains(self, log_p: Tensor, factor: Tensor | None) -> Tensor:
        """Return the negative costs where the class weights are ``factor``, which broadcasts."""
        less_than_sure = torch.expm1(log_p)
        if factor is None or self.class_weights is None:
            return torch.add(log_p, less_than_sure, alpha=self.epsilon)
        if self.form == "whole":
            return weigh(torch.add(log_p, less_than_sure, alpha=self.epsilon), factor)
        if self.form == "pt_scaled":
            less_than_sure = torch.exp(log_p) * (factor / self.class_weights.mean()) - 1
        return torch.add(weigh(log_p, factor), less_than_sure, alpha=self.epsilon)

    def of_indices(self, logits: Tensor, axis: int, index: Tensor, smoothing: float) -> Tensor:
        """Return the cost of each element, 0 for one whose class is ``ABSENT``."""
        present = index != ABSENT
        known = torch.where(present, index, 0)
        if smoothing != 0:
            each = self.of_each_class(torch.where(present.unsqueeze(axis), logits, 0), axis)
            smoothed = torch.lerp(_pick(each, axis, known), each.mean(axis), smoothing)
            return torch.where(present, -smoothed, 0)
        sure = _pick(logits.detach(), axis, known) == math.inf
        usable = present & ~sure
        live = _silence(logits, usable.unsqueeze(axis))
        cross_entropy = functional.cross_entropy(live, index, reduction="none", ignore_index=ABSENT)
        costs = -self.gains(-torch.where(usable, cross_entropy, 0), self.weights_of(known))
        if self.form == "pt_scaled":  # the one form in which a cross entropy of 0 has a cost
            return torch.where(present, costs, 0)
        return costs

    def weights_of(self, index: Tensor) -> Tensor | None:
        """Return the class weight of each element, None where there are no class weights."""
        if self.class_weights is None:
            return None
        return self.class_weights.gather(0, index.flatten()).reshape(index.shape)

    def of_distribution(
        self, logits: Tensor, axis: int, target: Tensor, weights: Tensor | None, smoothing: float
    ) -> Tensor:
        """Return the cost of each element under a distribution of the right class."""
        spread = None if weights is None else weights.unsqueeze(axis)
        each = self.of_each_class(drop_weightless(logits, spread), axis)
        target = drop_weightless(target.to(logits.dtype), spread)
        expected = (target * each).sum(axis)
        return -(expected if smoothing == 0 else torch.lerp(expected, each.mean(axis), smoothing))

    def of_each_class(self, logits: Tensor, axis: int) -> Tensor:
        """Return what each class would gain if it were the right one, shape of the logits."""
        factor = self.class_weights
        if factor is not None:
            factor = factor.reshape(-1, *(1,) * (logits.dim() - axis - 1))
        return self.gains(torch.log_softmax(bound(logits), axis), factor)


def make_poly1(
    function: str, logits: Tensor, epsilon: float, class_weights: Tensor | None, form: WeightForm
) -> Poly1:
    """Check the settings of a Poly-1 cost and bring the class weights to the logits' dtype."""
    check_number(function, "epsilon", epsilon)
    fine = form in ("whole", "ce_only", "pt_scaled")
    require(fine, function, "weight_form", "be 'whole', 'ce_only' or 'pt_scaled'", repr(form))
    if class_weights is not None:
        classes = logits.shape[min(1, logits.dim() - 1)]
        fine = isinstance(class_weights, Tensor) and class_weights.shape == (classes,)
        require(fine, function, "class_weights", f"have shape [{classes}]", kind(class_weights))
        class_weights = class_weights.to(logits.dtype)
    return Poly1(epsilon, class_weights, form)


class _Silence(torch.autograd.Function):
    """Identity whose gradient is 0 where ``keep`` is False, even if it would be NaN.

    Cleaning the scores themselves would read and write all of them once more in the forward pass.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(values: Tensor, _: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: BackwardCFunction, gradient: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return torch.where(keep, gradient, 0), None


class _SilenceInBothModes(_Silence):
    """The same with a forward mode, which the compiler refuses."""

    @staticmethod
    def jvp(ctx: FunctionCtx, tangent: Tensor, _: None) -> Tensor:
        del ctx
        return tangent.view_as(tangent)


def _silence(values: Tensor, keep: Tensor) -> Tensor:
    if compiles_transforms():
        return torch.where(keep, values, 0)
    function = _Silence if torch.compiler.is_compiling() else _SilenceInBothModes
    silenced: Tensor = function.apply(values, keep)  # type: ignore[no-untyped-call]
    return silenced


def _pick(values: Tensor, axis: int, index: Tensor) -> Tensor:
    return values.gather(axis, index.unsqueeze(axis)).squeeze(axis)
