"""Areas under curves: published numbers, and what ties them to the objectives at their anchors."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import gobj
import gobj.nn
from tests.cases import RULES, gradient
from tests.test_reference_cases import CASES, Published, as_matrix, assert_published, of, tensor

EXACT: dict[str, float] = {"rtol": 1e-10, "atol": 1e-12}
AREAS: dict[str, tuple[Callable[..., Any], Callable[..., Any], str]] = {
    "precision": (
        gobj.precision_recall_auc_loss,
        gobj.recall_at_precision_loss,
        "target_precision",
    ),
    "fpr": (gobj.roc_auc_loss, gobj.tpr_at_fpr_loss, "target_fpr"),
}
each_area = pytest.mark.parametrize("area", AREAS)
each_rule = pytest.mark.parametrize("rule", [*RULES.values(), gobj.FrozenDual()], ids=repr)
each_published = pytest.mark.parametrize("name", of("pr_auc"))


def noisy(n: int, labels: tuple[int, ...] = (), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw scores of two overlapping classes, in float64."""
    draw = torch.Generator().manual_seed(seed)
    classes = (torch.rand((n, *labels), generator=draw) < 0.3).double()
    return torch.randn((n, *labels), generator=draw, dtype=torch.float64) + 2 * classes, classes


class PublishedArea(Published):
    """A published area: biases are added to the logits, weights do not touch the constant."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.multiplier = tensor(self.params["lambdas"]).abs()
        self.threshold = -tensor(self.params["biases"])
        low, high = self.params["precision_range"]
        anchors = torch.arange(1, self.params["num_anchors"] + 1) / (
            torch.tensor(1.0, dtype=torch.float64) * self.params["num_anchors"] + 1
        )
        self.span, self.precisions = (low, high), low + (high - low) * anchors
        state = gobj.init_state(
            self.multiplier.shape[:1],
            anchors=anchors,
            rule=gobj.FrozenDual(),
            dtype=torch.float64,
        )
        self.state = state._replace(multiplier=self.multiplier, threshold=self.threshold)

    def elements(self, scores: Tensor, labels: Tensor, weights: Tensor, prior: Tensor) -> Tensor:
        """Return the losses of elements in the published convention."""
        each, _ = gobj.precision_recall_auc_loss(
            scores,
            labels,
            self.state,
            precision_range=self.span,
            weights=weights,
            surrogate=self.surrogate,
            rule=gobj.FrozenDual(),
            label_priors=prior,
            reduction="none",
        )
        slack = -(self.multiplier * (1 - self.precisions)).mean(-1) * prior
        weighed = each * weights.sum(0) / len(scores)  # undo the division by the mean weight
        return self.unit * (weighed + (1 - weights) * slack)


def test_the_published_areas_are_all_here() -> None:
    assert len(of("pr_auc")) == 8


@each_published
def test_published_areas_have_these_losses_and_gradients(name: str) -> None:
    case = PublishedArea(name)
    assert_published(case.precisions, CASES[name]["expected"]["precision_values"])
    for scores, labels, weights, prior, expected in case.batches():
        leaf = scores.requires_grad_()
        each = case.elements(leaf, labels, weights, prior)
        (slope,) = torch.autograd.grad(each.mean(), leaf)
        assert_published(each, as_matrix(tensor(expected["loss"])).tolist())
        assert_published(each.mean(), expected["loss_mean"])
        assert_published(slope, as_matrix(tensor(expected["grad_logits_mean"])).tolist())


@pytest.mark.parametrize(
    "name",
    [n for n in of("pr_auc") if all(b["weights"] is None for b in CASES[n]["inputs"]["batches"])],
)
def test_the_alias_leaves_the_published_gradients_on_multipliers_and_thresholds(name: str) -> None:
    case = PublishedArea(name)
    factor = case.params["dual_rate_factor"]
    for scores, labels, _, prior, expected in case.batches():
        criterion = gobj.nn.AUCPRLoss(
            len(case.multiplier),
            case.params["num_anchors"],
            *case.span,
            dual_rate_factor=factor,
            loss_type={"xent": "cross_entropy", "hinge": "hinge"}[case.params["surrogate"]],
        ).double()
        criterion.anchors.copy_(case.state.anchors)
        with torch.no_grad():
            criterion.multiplier.copy_(case.multiplier)
            criterion.threshold.copy_(case.threshold)
        (case.unit * criterion(scores, labels, label_priors=prior)).backward()
        ascent = -factor * tensor(expected["grad_lambda_effective_mean"])
        assert_published(criterion.multiplier.grad, ascent.tolist())
        biases = -tensor(expected["grad_biases_mean"])
        assert_published(criterion.threshold.grad, biases.tolist())


@each_rule
@each_area
def test_one_anchor_is_the_objective_at_its_target(area: str, rule: gobj.DualRule) -> None:
    area_loss, point_loss, target = AREAS[area]
    wide = {"rule": rule, "dtype": torch.float64}
    state = gobj.init_state((2,), anchors=torch.tensor([0.4], dtype=torch.float64), **wide)
    point = gobj.init_state((2,), **wide)
    for seed in range(5):
        logits, labels = noisy(60, (2,), seed)
        got, state = area_loss(logits, labels, state, rule=rule)
        want, point = point_loss(logits, labels, point, rule=rule, **{target: 0.4})
        torch.testing.assert_close(got, want, **EXACT)
        torch.testing.assert_close(state.threshold.squeeze(-1), point.threshold, **EXACT)
        torch.testing.assert_close(state.multiplier.squeeze(-1), point.multiplier, **EXACT)


@each_area
@pytest.mark.parametrize("surrogate", [gobj.cross_entropy, gobj.hinge, gobj.sigmoid()], ids=repr)
def test_anchors_cost_the_mean_of_their_objectives(area: str, surrogate: gobj.Surrogate) -> None:
    area_loss, point_loss, target = AREAS[area]
    logits, labels = noisy(50)
    options = {"surrogate": surrogate, "rule": gobj.FrozenDual()}
    duals = {
        "multiplier": torch.tensor([0.5, 1.5, 4.0], dtype=torch.float64),
        "threshold": torch.tensor([1.0, 0.2, -0.7], dtype=torch.float64),
    }
    state = gobj.init_state(
        anchors=torch.tensor([0.2, 0.5, 0.9], dtype=torch.float64),
        rule=gobj.FrozenDual(),
        dtype=torch.float64,
    )._replace(**duals)

    def point(logits: Tensor, k: int) -> Tensor:
        single = gobj.init_state(rule=gobj.FrozenDual(), dtype=torch.float64)
        single = single._replace(**{name: value[k] for name, value in duals.items()})
        rate = state.anchors[k].item()
        return point_loss(logits, labels, single, **{target: rate}, **options)[0]

    def mean(logits: Tensor) -> Tensor:
        return torch.stack([point(logits, k) for k in range(3)]).mean()

    got, _ = area_loss(logits, labels, state, **options)
    torch.testing.assert_close(got, mean(logits), **EXACT)
    slope = gradient(lambda x: area_loss(x, labels, state, **options)[0], logits)
    torch.testing.assert_close(slope, gradient(mean, logits), **EXACT)


@each_area
@given(data=st.data())
def test_the_area_of_bounds_is_above_the_counted_one(area: str, data: st.DataObject) -> None:
    def drawn(low: float, high: float, size: int) -> Tensor:
        numbers = st.lists(st.floats(low, high), min_size=size, max_size=size)
        return torch.tensor(data.draw(numbers), dtype=torch.float64)

    logits, labels = drawn(-5, 5, 12), (drawn(0, 1, 12) > 0.6).double()
    state = gobj.init_state(anchors=3, rule=gobj.FrozenDual(), dtype=torch.float64)
    state = state._replace(multiplier=drawn(0, 9, 3), threshold=drawn(-3, 3, 3))
    losses = [
        AREAS[area][0](logits, labels, state, rule=gobj.FrozenDual(), surrogate=surrogate)[0]
        for surrogate in (gobj.cross_entropy, gobj.generalized_cross_entropy(0.4, 0.5))
    ]
    exact = {"rule": gobj.FrozenDual(), "surrogate": gobj.zero_one}
    counted = AREAS[area][0](logits, labels, state, **exact)[0]
    assert min(losses) >= counted - 1e-12


def test_a_perfect_scorer_has_the_whole_area() -> None:
    state = gobj.init_state(anchors=20, rule=gobj.FrozenDual())
    state = state._replace(multiplier=torch.zeros(20))
    exact = {"rule": gobj.FrozenDual(), "surrogate": gobj.zero_one}
    logits, labels = torch.tensor([2.0, 1.0, -1.0, -2.0]), torch.tensor([1, 1, 0, 0])
    loss, _ = gobj.precision_recall_auc_loss(logits, labels, state, **exact)
    assert loss.item() == 0
    worst, _ = gobj.precision_recall_auc_loss(-logits, labels, state, **exact)
    assert worst.item() == pytest.approx(
        0.5
    )  # every positive, which are half of the batch, is missed


@pytest.mark.parametrize(
    ("loss", "rates_of"),
    [
        (gobj.roc_auc_loss, lambda z, y, b: (z[y == 0] > b).double().mean()),
        (gobj.average_precision_loss, lambda z, y, b: (z[y > 0] > b).double().mean()),
    ],
    ids=["fpr", "recall"],
)
def test_every_anchor_settles_at_its_rate(loss: Any, rates_of: Any) -> None:
    state = gobj.init_state(anchors=5)
    for seed in range(200):
        logits, labels = noisy(512, (), seed)
        _, state = loss(logits.float(), labels, state)
    logits, labels = noisy(20000, (), 999)
    rates = torch.stack([rates_of(logits, labels, b) for b in state.threshold])
    torch.testing.assert_close(rates, state.anchors.double(), rtol=0, atol=0.03)


def counted_at(logits: Tensor, labels: Tensor, thresholds: tuple[float, ...]) -> Tensor:
    """Count the rates that an area averages, at each threshold."""
    rows = []
    for threshold in thresholds:
        pairs = list(zip(logits.tolist(), labels.tolist(), strict=True))
        hits = sum(z > threshold for z, y in pairs if y > 0)
        alarms = sum(z > threshold for z, y in pairs if y == 0)
        rows.append([sum(labels.tolist()) / len(pairs), hits / len(pairs), alarms / len(pairs)])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("loss", [gobj.average_precision_loss, gobj.roc_auc_loss])
@pytest.mark.parametrize(
    "rule", [gobj.DualAscent(), gobj.ImplicitMultiplier(), gobj.OptimizerAscent()], ids=str
)
def test_an_area_averages_the_rates_at_its_thresholds(loss: Any, rule: gobj.DualRule) -> None:
    state = gobj.init_state(anchors=3, rule=rule, dtype=torch.float64)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for seed in range(3):
        logits, labels = noisy(50, (), seed)
        now = counted_at(logits, labels, tuple(state.threshold.tolist()))
        expected = expected + 0.1 * (now - expected)
        _, state = loss(logits, labels, state, rule=rule)
        torch.testing.assert_close(state.rates, expected)


def test_anchors_of_the_average_precision_weigh_what_a_false_alarm_costs_there() -> None:
    logits, labels = noisy(200)
    rule, wide = gobj.FrozenDual(), torch.float64
    state = gobj.init_state(
        anchors=torch.tensor([0.25, 0.75], dtype=wide), rule=rule, dtype=wide
    )._replace(threshold=torch.tensor([2.0, 1.0], dtype=wide))
    state = state._replace(rates=0.3 * counted_at(logits, labels, (2.0, 1.0)))
    got, _ = gobj.average_precision_loss(
        logits, labels, state._replace(multiplier=torch.zeros(2, dtype=wide)), rule=rule
    )
    expected, positives = 0.0, sum(labels.tolist())
    for recall, threshold in ((0.25, 2.0), (0.75, 1.0)):
        pairs = zip(logits.tolist(), labels.tolist(), strict=True)
        alarms = sum(z > threshold for z, y in pairs if y == 0)
        precision = recall * positives / (recall * positives + alarms)
        costs = gobj.cross_entropy(threshold - logits[labels == 0]).sum() / len(logits)
        expected += precision**2 / recall * costs / 2
    torch.testing.assert_close(got, torch.as_tensor(expected), **EXACT)


@pytest.mark.parametrize("span", [(0.0, 1.0), (0.5, 1.0), (0.0, 0.5), (0.3, 0.95)])
def test_anchors_of_a_two_way_area_weigh_by_where_their_rate_is(span: tuple[float, float]) -> None:
    logits, labels = noisy(400)
    rule, thresholds = gobj.FrozenDual(), (3.5, 1.5, 0.0)
    state = gobj.init_state(anchors=3, rule=rule, dtype=torch.float64)._replace(
        threshold=torch.tensor(thresholds, dtype=torch.float64),
        multiplier=torch.zeros(3, dtype=torch.float64),
        rates=0.3 * counted_at(logits, labels, thresholds),
    )
    got, _ = gobj.roc_auc_loss(logits, labels, state, tpr_range=span, rule=rule)
    expected, of_positives = 0.0, logits[labels > 0]
    for threshold in thresholds:
        rate = sum(z > threshold for z in of_positives.tolist()) / len(of_positives)
        weight = 1.0
        if span[0] > 0:
            weight /= 1 + math.exp((span[0] - rate) / 0.05)
        if span[1] < 1:
            weight /= 1 + math.exp((rate - span[1]) / 0.05)
        expected += weight * gobj.cross_entropy(of_positives - threshold).sum() / len(logits) / 3
    torch.testing.assert_close(got, torch.as_tensor(expected), **EXACT)


@pytest.mark.parametrize("span", [(0.5, 0.5), (0.9, 0.1), (-0.1, 0.5), (0.5, 1.1), (0.5,), "all"])
@pytest.mark.parametrize(
    ("loss", "module", "argument"),
    [
        (gobj.precision_recall_auc_loss, gobj.nn.PrecisionRecallAUCLoss, "precision_range"),
        (gobj.roc_auc_loss, gobj.nn.ROCAUCLoss, "fpr_range"),
        (gobj.roc_auc_loss, gobj.nn.ROCAUCLoss, "tpr_range"),
    ],
)
def test_ranges_without_a_width_or_outside_are_refused(
    loss: Any, module: Any, argument: str, span: Any
) -> None:
    message = f"`{argument}` must be two numbers with 0 <= first < second <= 1; got"
    with pytest.raises(ValueError, match=message):
        loss(*noisy(4), gobj.init_state(anchors=2), **{argument: span})
    with pytest.raises(ValueError, match=message):
        module(**{argument: span})


@pytest.mark.parametrize(
    "anchors", [0, -1, 2.5, True, torch.ones(3).int(), torch.ones(2, 3), torch.ones(0)]
)
def test_anchors_that_do_not_fit_are_refused(anchors: Any) -> None:
    with pytest.raises(ValueError, match="init_state: `anchors` must"):
        gobj.init_state(anchors=anchors)


@pytest.mark.parametrize("missing", ["score", "label"])
@pytest.mark.parametrize("area", ["average_precision", "precision_recall_auc", "roc_auc"])
def test_what_is_missing_in_a_large_batch_stays_in_its_label(area: str, missing: str) -> None:
    scores, labels = noisy(700, (2,))
    labels, loss = labels.double(), getattr(gobj, f"{area}_loss")
    state = gobj.init_state((2,), anchors=8, dtype=torch.float64)
    clean, expected = loss(scores, labels, state, reduction="none")
    (scores if missing == "score" else labels)[5, 1] = math.nan
    value, after = loss(scores, labels, state, reduction="none")
    torch.testing.assert_close(value[:, 0], clean[:, 0])
    torch.testing.assert_close(after.threshold[0], expected.threshold[0])
    assert torch.equal(after.threshold[1], state.threshold[1])


@pytest.mark.parametrize("light", [1e-3, 1e-8])
def test_a_class_that_weighs_next_to_nothing_pulls_all_the_same(light: float) -> None:
    scores, labels = noisy(3000)
    weights = torch.where(labels > 0, light, 1.0).double()
    state = gobj.init_state(anchors=8, dtype=torch.float64)
    _, after = gobj.roc_auc_loss(scores, labels, state, weights=weights)
    _, alike = gobj.roc_auc_loss(scores, labels, state)
    got, want = (x.statistics.averages[..., 0] for x in (after, alike))
    share, weighed = labels.double().mean(), weights.mean()
    torch.testing.assert_close(got * weighed / light, want, rtol=1e-4, atol=1e-6 * share.item())


def test_the_scale_of_weights_does_not_matter_however_small() -> None:
    scores, labels = noisy(1000)
    weights = torch.rand(1000, dtype=torch.float64) + 0.1
    scores, weights = scores.float(), weights.float()
    states = [gobj.init_state(anchors=8) for _ in range(2)]
    for _ in range(5):
        states = [
            gobj.roc_auc_loss(scores, labels, state, weights=weights * scale)[1]
            for state, scale in zip(states, (1.0, 1e-24), strict=True)
        ]
    torch.testing.assert_close(states[0].threshold, states[1].threshold, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [50, 900])
def test_the_default_dtype_does_not_matter(n: int) -> None:
    scores, labels = (x.float() for x in noisy(n, (2,)))
    state, targets = gobj.init_state((2,), anchors=8), torch.tensor([0.8, 0.9])

    def losses() -> list[Tensor]:
        area, _ = gobj.roc_auc_loss(scores, labels, state)
        options = {"target_precision": targets}
        point, _ = gobj.recall_at_precision_loss(scores, labels, gobj.init_state((2,)), **options)
        return [area, point, gobj.pairwise_roc_auc_loss(scores, labels)]

    expected = losses()
    torch.set_default_dtype(torch.float64)
    try:
        got = losses()
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(got, expected)


def test_a_state_without_anchors_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`state` must come from init_state\(anchors=...\); got"):
        gobj.roc_auc_loss(*noisy(4), gobj.init_state())
    with pytest.raises(ValueError, match="`state` must come from init_state without anchors; got"):
        gobj.tpr_at_fpr_loss(*noisy(4), gobj.init_state(anchors=2), target_fpr=0.5)


@pytest.mark.parametrize("alias", [gobj.nn.AUCPRLoss, gobj.nn.AUCROCLoss])
def test_an_optimiser_moves_the_duals_of_the_aliases(alias: Any) -> None:
    criterion = alias(num_labels=2, num_anchors=4)
    optimizer = torch.optim.SGD(criterion.parameters(), lr=1.0)
    logits, labels = noisy(100, (2,))
    before = [parameter.detach().clone() for parameter in criterion.parameters()]
    criterion(logits, labels).backward()
    optimizer.step()
    assert [parameter.shape for parameter in criterion.parameters()] == [(2, 4), (2, 4)]
    assert next(criterion.lambda_parameters()) is criterion.multiplier
    for new, old in zip(criterion.parameters(), before, strict=True):
        assert (new != old).all()
