"""Published numbers: the constrained objectives as earlier implementations computed them.

Those losses are sums over examples, not averages over weights; in natural logarithms, not in bits;
and their constant term is not weighted. The conversions stand here, in one place.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gobj
import gobj.nn

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent / "data" / "reference_cases.json").read_text())[
        "cases"
    ]
}
OBJECTIVES = {
    "recall_at_precision": gobj.recall_at_precision,
    "precision_at_recall": gobj.precision_at_recall,
    "fpr_at_tpr": gobj.fpr_at_tpr,
    "tpr_at_fpr": gobj.tpr_at_fpr,
}
SURROGATES = {"xent": gobj.cross_entropy, "hinge": gobj.hinge}
UNITS = {"xent": math.log(2), "hinge": 1.0}  # what a surrogate costs at margin 0 there


def of(*families: str) -> list[str]:
    """List the cases of some families."""
    return [name for name, case in CASES.items() if case["family"] in families]


def tensor(values: Any) -> Tensor:
    """Make a float64 tensor."""
    return torch.tensor(values, dtype=torch.float64)


def assert_published(got: Tensor, expected: Any) -> None:
    """Compare at the tolerance of the published numbers."""
    torch.testing.assert_close(got.detach(), tensor(expected), rtol=1e-10, atol=1e-10)


class Published:
    """A published case: its batches with the priors that it had seen until then."""

    def __init__(self, name: str) -> None:
        self.case, self.params = CASES[name], CASES[name]["params"]
        self.surrogate = SURROGATES[self.params["surrogate"]]
        self.unit = UNITS[self.params["surrogate"]]
        self.seen = None

    def batches(self) -> list[tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]]:
        """Return scores, labels, weights (all [B, L]), priors and expectations of each batch."""
        found = []
        batches = self.case["inputs"]["batches"]
        for batch, expected in zip(batches, self.case["expected"]["batches"], strict=True):
            scores, labels = (as_matrix(tensor(batch[key])) for key in ("logits", "labels"))
            weights = tensor(1.0 if batch["weights"] is None else batch["weights"])
            if weights.dim() == 1:
                weights = weights.unsqueeze(1)
            weights = weights.expand(scores.shape)
            found.append((scores, labels, weights, self.priors(labels, weights), expected))
        return found

    def priors(self, labels: Tensor, weights: Tensor) -> Tensor:
        """Return the given priors, or the running ones: one of two positives before the first."""
        if self.params["label_priors"] is not None:
            return tensor(self.params["label_priors"])
        positives, total = (1.0, 2.0) if self.seen is None else self.seen
        self.seen = positives + (weights * labels).sum(0), total + weights.sum(0)
        return self.seen[0] / self.seen[1]

    def slack(self, multiplier: Tensor, prior: Tensor) -> Tensor:
        """Return the constant term of each label."""
        target = tensor(self.params["target"])
        return (
            multiplier
            * {
                "target_precision": -(1 - target) * prior,
                "target_recall": -(1 - target) * prior,
                "target_tpr": -(1 - target) * prior,
                "target_fpr": -target * (1 - prior),
            }[self.params["target_name"]]
        )

    def problem(self) -> gobj.Problem:
        """Return the problem at the case's targets."""
        target = self.params["target"]
        family = self.case["params"].get("objective", self.case["family"])
        return OBJECTIVES[family](tensor(target) if isinstance(target, list) else target)

    def losses(
        self, scores: Tensor, labels: Tensor, weights: Tensor, prior: Tensor, multiplier: Tensor
    ) -> Tensor:
        """Convert: weigh the elements, not the constant, and never divide by the weights."""
        mass = weights.sum(0)
        value = gobj.lagrangian(
            scores,
            labels,
            self.problem(),
            multiplier,
            0.0,
            weights=weights,
            surrogate=self.surrogate,
            label_priors=prior,
        )
        slack = self.slack(multiplier, prior)
        weighed = torch.where(mass > 0, value - slack, 0) * mass / len(scores)
        return self.unit * (weighed + slack)


def as_matrix(values: Tensor) -> Tensor:
    """Turn one label into a column."""
    return values.unsqueeze(1) if values.dim() == 1 else values


CONSTRAINED = of(*OBJECTIVES)
each_constrained_case = pytest.mark.parametrize("name", CONSTRAINED)


def test_the_published_cases_are_all_here() -> None:
    assert len(CONSTRAINED) == 24
    assert len(of("bounds")) == 4
    assert len(of("surrogate")) == 3
    assert len(of("dual_trajectory")) == 2


@each_constrained_case
def test_mean_losses_and_their_gradients_are_the_published_ones(name: str) -> None:
    published = Published(name)
    for scores, labels, weights, prior, expected in published.batches():
        leaf = scores.requires_grad_()
        multiplier = tensor(published.params["lambdas"]).requires_grad_()
        mean = published.losses(leaf, labels, weights, prior, multiplier).mean()
        slopes = torch.autograd.grad(mean, (leaf, multiplier))
        assert_published(prior.expand(scores.shape[1:]), expected["label_priors"])
        assert_published(mean, expected["loss_mean"])
        assert_published(mean * scores.numel(), expected["loss_sum"])
        assert_published(slopes[0], as_matrix(tensor(expected["grad_logits_mean"])).tolist())
        assert_published(slopes[1], expected["grad_lambda_effective_mean"])


@each_constrained_case
def test_losses_of_elements_are_the_published_ones(name: str) -> None:
    published = Published(name)
    target_name = published.params["target_name"]
    target = published.params["target"]
    target = tensor(target) if isinstance(target, list) else target
    loss = vars(gobj)[f"{published.case['family']}_loss"]
    rule = gobj.FrozenDual()
    for scores, labels, weights, prior, expected in published.batches():
        multiplier = tensor(published.params["lambdas"])
        state = gobj.init_state(scores.shape[1:], rule=rule, dtype=torch.float64)
        each, _ = loss(
            scores,
            labels,
            state._replace(multiplier=multiplier),
            weights=weights,
            surrogate=published.surrogate,
            rule=rule,
            label_priors=prior,
            reduction="none",
            **{target_name: target},
        )
        slack = published.slack(multiplier, prior)
        weighed = each * weights.sum(0) / len(scores)  # undo the division by the mean weight
        got = published.unit * (weighed + (1 - weights) * slack)
        assert_published(got, as_matrix(tensor(expected["loss"])).tolist())


@pytest.mark.parametrize("name", [*CONSTRAINED, *of("bounds", "pr_auc")])
def test_bounds_of_the_counts_are_the_published_ones(name: str) -> None:
    case = CASES[name]
    surrogate = SURROGATES[case["params"]["surrogate"]]
    costs = {
        "missed": gobj.LinearForm(false_negative=1.0),
        "alarms": gobj.LinearForm(false_positive=1.0),
    }
    batches = case["inputs"]["batches"]
    for batch, expected in zip(batches, case["expected"]["batches"], strict=True):
        scores = as_matrix(tensor(batch["logits"]))
        labels = as_matrix(tensor(batch["labels"]))
        if scores.dim() > labels.dim():
            labels = labels.unsqueeze(-1).expand(scores.shape)
        given = batch.get("weights")
        weights = tensor(1.0 if given is None else given)
        while 0 < weights.dim() < scores.dim():
            weights = weights.unsqueeze(-1)
        weights = weights.expand(scores.shape)
        bound = {
            kind: gobj.lagrangian(
                scores,
                labels,
                gobj.Problem(cost, gobj.LinearForm()),
                1.0,
                0.0,
                weights=weights,
                surrogate=surrogate,
            )
            * weights.sum(0)
            for kind, cost in costs.items()
        }
        hits = (weights * labels).sum(0) - bound["missed"]
        assert_published(hits, expected["true_positives_lower_bound"])
        assert_published(bound["alarms"], expected["false_positives_upper_bound"])


@pytest.mark.parametrize("name", of("surrogate"))
def test_surrogates_weigh_as_published(name: str) -> None:
    case, published = CASES[name], CASES[name]["params"]
    surrogate, unit = SURROGATES[published["surrogate"]], UNITS[published["surrogate"]]
    of_positives, of_negatives = (
        tensor(published[key]) for key in ("positive_weights", "negative_weights")
    )
    batches = case["inputs"]["batches"]
    for batch, expected in zip(batches, case["expected"]["batches"], strict=True):
        scores, labels = tensor(batch["logits"]).requires_grad_(), tensor(batch["labels"])
        each = unit * (
            of_positives * labels * surrogate(scores)
            + of_negatives * (1 - labels) * surrogate(-scores)
        )
        (slope,) = torch.autograd.grad(each.mean(), scores)
        assert_published(each, expected["loss"])
        assert_published(each.sum(), expected["loss_sum"])
        assert_published(slope, expected["grad_logits_mean"])


UNWEIGHTED = [
    name
    for name in CONSTRAINED
    if all(batch["weights"] is None for batch in CASES[name]["inputs"]["batches"])
]


def classical(params: dict[str, Any]) -> Any:
    """Make the classical module of a published case."""
    alias = gobj.nn.TPRFPRLoss if params["target_name"][-3:] in ("tpr", "fpr") else gobj.nn.PRLoss
    target = params["target"]
    criterion = alias(
        len(params["lambdas"]),
        **{params["target_name"]: tensor(target) if isinstance(target, list) else target},
        dual_rate_factor=params["dual_rate_factor"],
        loss_type={"xent": "cross_entropy", "hinge": "hinge"}[params["surrogate"]],
    ).double()
    with torch.no_grad():
        criterion.multiplier.copy_(tensor(params["lambdas"]))
    return criterion


@pytest.mark.parametrize("name", UNWEIGHTED)
def test_classical_modules_leave_the_published_gradient_on_their_multipliers(name: str) -> None:
    published = Published(name)
    for scores, labels, _, prior, expected in published.batches():
        criterion = classical(published.params)
        loss = published.unit * criterion(scores, labels, label_priors=prior)
        loss.backward()
        assert_published(loss, expected["loss_mean"])
        assert_published(criterion.multiplier.grad, expected["grad_lambda_variable_mean"])


@pytest.mark.parametrize("name", of("dual_trajectory"))
def test_classical_modules_walk_the_published_path_under_plain_descent(name: str) -> None:
    case, params = CASES[name], CASES[name]["params"]
    inputs = case["inputs"]
    features, labels = tensor(inputs["X"]), tensor(inputs["labels"])
    matrix, offset = (tensor(inputs[key]).requires_grad_() for key in ("W0", "b0"))
    criterion = classical(params)
    optimizer = torch.optim.SGD(
        [matrix, offset, *criterion.lambda_parameters()], lr=params["learning_rate"]
    )
    prior, unit = tensor(params["label_priors"]), UNITS[params["surrogate"]]
    for step in case["expected"]["steps"]:
        scores = features @ matrix + offset
        loss = unit * criterion(scores, labels.reshape(scores.shape), label_priors=prior)
        assert_published(loss, step["loss_mean_before"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert_path(step, matrix, offset, criterion.multiplier)


@pytest.mark.parametrize("name", of("dual_trajectory"))
def test_ascent_on_the_surrogate_walks_the_published_path(name: str) -> None:
    case, params = CASES[name], CASES[name]["params"]
    inputs = case["inputs"]
    features, labels = tensor(inputs["X"]), tensor(inputs["labels"])
    matrix, offset = (tensor(inputs[key]).requires_grad_() for key in ("W0", "b0"))
    multiplier = tensor(params["lambdas"])
    unit, rate = UNITS[params["surrogate"]], params["learning_rate"]
    factor = params["dual_rate_factor"] * unit / len(multiplier)
    rule = gobj.DualAscent(rate=rate * factor, signal="surrogate")
    state = gobj.init_state((len(multiplier),), rule=rule, dtype=torch.float64)
    state = state._replace(multiplier=multiplier)
    target = params["target"]
    options = {
        params["target_name"]: tensor(target) if isinstance(target, list) else target,
        "surrogate": SURROGATES[params["surrogate"]],
        "rule": rule,
        "label_priors": tensor(params["label_priors"]),
    }
    loss_function = vars(gobj)[f"{params['objective']}_loss"]
    for step in case["expected"]["steps"]:
        scores = features @ matrix + offset
        loss, state = loss_function(scores, labels.reshape(scores.shape), state, **options)
        assert_published(unit * loss, step["loss_mean_before"])
        slopes = torch.autograd.grad(unit * loss, (matrix, offset))
        with torch.no_grad():
            for leaf, slope in zip((matrix, offset), slopes, strict=True):
                leaf.sub_(rate * slope)
        assert_path(step, matrix, offset, state.multiplier)


def assert_path(step: dict[str, Any], matrix: Tensor, offset: Tensor, multiplier: Tensor) -> None:
    """Compare what a step left behind."""
    after = {key: value for key, value in step.items() if key.endswith("_after")}
    got = {"W_after": matrix, "b_after": offset, "lambdas_after": multiplier}
    assert after.keys() == got.keys()
    for key, expected in after.items():
        assert_published(got[key], expected)
