"""How much a step asks of torch: operations dispatched, and memory; counts without noise."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import gobj
from benchmarks.speed import peak_memory

ASCENT, CLASSICAL = gobj.DualAscent(), gobj.OptimizerAscent()
IMPLICIT, FOCUS = gobj.ImplicitMultiplier(), gobj.FocusedCrossEntropy()
STEPS: dict[str, tuple[Callable[..., Any], dict[str, Any], int]] = {
    "a point by ascent": (
        gobj.recall_at_precision_loss,
        {"target_precision": 0.9, "state": gobj.init_state(rule=ASCENT), "rule": ASCENT},
        74,
    ),
    "a point by the default rule": (
        gobj.recall_at_precision_loss,
        {"target_precision": 0.9, "state": gobj.init_state()},
        140,
    ),
    "a point with a focus": (
        gobj.recall_at_precision_loss,
        {"target_precision": 0.9, "state": gobj.init_state(rule=FOCUS), "rule": FOCUS},
        131,
    ),
    "F-beta": (gobj.f_beta_loss, {}, 65),
    "pairs": (gobj.pairwise_roc_auc_loss, {}, 162),
}
for area, of_implicit, of_focus in (
    (gobj.average_precision_loss, 189, 172),
    (gobj.precision_recall_auc_loss, 178, 164),
    (gobj.roc_auc_loss, 171, 154),
):
    for rule, most in ((IMPLICIT, of_implicit), (FOCUS, of_focus)):
        state = gobj.init_state(anchors=8, rule=rule)
        name = f"{area.__name__} {type(rule).__name__}"
        STEPS[name] = area, {"state": state, "rule": rule}, most


class Count(TorchDispatchMode):
    """Count the operations that reach the dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("loss", "options", "most"), STEPS.values(), ids=STEPS)
def test_an_eager_step_dispatches_few_operations(
    loss: Callable[..., Any], options: dict[str, Any], most: int
) -> None:
    logits = torch.randn(4096, requires_grad=True)
    labels = (torch.rand(4096) < 0.1).float()
    with Count() as count:
        result = loss(logits, labels, **options)
        (result if isinstance(result, Tensor) else result[0]).backward()
    assert most - 3 <= count.operations <= most  # one that falls has its bound lowered


@pytest.mark.parametrize("shape", [(65536,), (4096, 100)], ids=str)
@pytest.mark.parametrize("rule", [gobj.ImplicitMultiplier(), ASCENT, CLASSICAL, FOCUS], ids=str)
def test_an_area_takes_less_than_twelve_times_the_memory_of_its_scores(
    shape: tuple[int, ...], rule: gobj.DualRule
) -> None:
    batch = torch.randn(shape, requires_grad=True), torch.rand(shape) < 0.2
    state = gobj.init_state(shape[1:], anchors=20, rule=rule)
    if rule is CLASSICAL:
        duals = {"multiplier": state.multiplier, "threshold": state.threshold}
        state = state._replace(**{name: x.requires_grad_() for name, x in duals.items()})
    used = peak_memory(lambda *at: gobj.roc_auc_loss(*at, state, rule=rule)[0], batch)
    assert used < 12
