"""The family table: every public loss with what the textbook says of it.

A loss that :mod:`gobj` exports and that has no entry here stops the collection of the tests.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_type_hints

import pytest
import torch
from torch import Tensor

import gobj
import gobj.nn
from gobj.losses.confusion_metrics import specificity
from tests.oracles import Counts

State = Any
PUBLIC: dict[str, Callable[..., Any]] = {
    name: value
    for name, value in vars(gobj).items()
    if name.endswith("_loss") and not name.endswith("constrained_loss")
}
RULES: dict[str, gobj.DualRule] = {
    "implicit": gobj.ImplicitMultiplier(),
    "focus": gobj.FocusedCrossEntropy(),
    "weigh_first": gobj.ImplicitMultiplier(order="weigh_first"),
    "exact": gobj.DualAscent(rate=0.5, proportional=0.5),
    "surrogate": gobj.DualAscent(rate=0.5, signal="surrogate", threshold_rate=0.1),
}


def parameters_of(function: Callable[..., Any]) -> list[str]:
    """Name the parameters of a function, those behind ``**options: Unpack[...]`` in its place."""
    names: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            (options,) = get_args(parameter.annotation)
            names += get_type_hints(options)
        else:
            names.append(name)
    return names


PARAMETERS = {name: parameters_of(function) for name, function in PUBLIC.items()}


@dataclass(frozen=True)
class Goal:
    """A goal in the cells of a confusion matrix: least cost while a ratio meets a target."""

    cost: Counts
    numerator: Counts
    denominator: Counts
    at_least: bool

    def constraint(self, target: float) -> Counts:
        """Price the cells such that the sum is at most 0 where the ratio meets the target."""
        excess = (n - target * d for n, d in zip(self.numerator, self.denominator, strict=True))
        return Counts(*(-price if self.at_least else price for price in excess))

    def rises(self, target: float) -> bool:
        """Tell whether a higher threshold repairs the constraint: flagging nobody meets it."""
        nobody = Counts(false_negatives=1, true_negatives=1)
        return nobody.priced(self.constraint(target)) <= 0

    def needs_prior(self, target: float) -> bool:
        """Tell whether the price of being in a class differs between the classes."""
        prices = self.constraint(target)
        of_positives = min(prices.true_positives, prices.false_negatives)
        return of_positives != min(prices.false_positives, prices.true_negatives)

    def bounded_by_errors(self, target: float) -> bool:
        """Tell whether being right is never dearer than being wrong."""
        prices = self.constraint(target)
        return (
            prices.true_positives <= prices.false_negatives
            and prices.true_negatives <= prices.false_positives
        )


@dataclass(frozen=True)
class Spec:
    """What a loss is called with, and its goal if it has a constrained one.

    ``arguments`` are those without a default; a goal's target is the first. ``inputs`` says what
    scores and labels are: ``[n, *labels]`` and binary, ``[n, C]`` and classes, or embeddings.
    ``ranks`` tells that it compares examples with each other.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    goal: Goal | None = None
    inputs: Literal["binary", "classes", "embeddings"] = "binary"
    ranks: bool = False
    init: Callable[..., State] = gobj.init_state


MISSED = Counts(false_negatives=1)
ALARMS = Counts(false_positives=1)
HITS = Counts(true_positives=1)
PASSED = Counts(true_negatives=1)
FLAGGED = Counts(true_positives=1, false_positives=1)
CLEARED = Counts(false_negatives=1, true_negatives=1)
POSITIVES = Counts(true_positives=1, false_negatives=1)
NEGATIVES = Counts(false_positives=1, true_negatives=1)
EVERYONE = Counts(1, 1, 1, 1)

with_anchors = functools.partial(gobj.init_state, anchors=8)

SPECS = {
    "recall_at_precision_loss": Spec(
        {"target_precision": 0.7}, Goal(MISSED, HITS, FLAGGED, at_least=True)
    ),
    "precision_at_recall_loss": Spec(
        {"target_recall": 0.8}, Goal(ALARMS, HITS, POSITIVES, at_least=True)
    ),
    "tpr_at_fpr_loss": Spec({"target_fpr": 0.3}, Goal(MISSED, ALARMS, NEGATIVES, at_least=False)),
    "fpr_at_tpr_loss": Spec({"target_tpr": 0.9}, Goal(ALARMS, HITS, POSITIVES, at_least=True)),
    "specificity_at_npv_loss": Spec(
        {"target_npv": 0.8}, Goal(ALARMS, PASSED, CLEARED, at_least=True)
    ),
    "recall_at_budget_loss": Spec(
        {"budget": 0.25}, Goal(MISSED, FLAGGED, EVERYONE, at_least=False)
    ),
    "average_precision_loss": Spec(init=with_anchors),
    "precision_recall_auc_loss": Spec(init=with_anchors),
    "roc_auc_loss": Spec(init=with_anchors),
    "accuracy_loss": Spec(),
    "balanced_accuracy_loss": Spec(),
    "confusion_metric_loss": Spec({"metric": specificity}),
    "f_beta_loss": Spec(),
    "geometric_mean_loss": Spec(),
    "jaccard_loss": Spec(),
    "matthews_loss": Spec(),
    "precision_loss": Spec(),
    "recall_loss": Spec(),
    "binomial_deviance_loss": Spec(inputs="embeddings"),
    "pairwise_roc_auc_loss": Spec(ranks=True),
    "poly1_cross_entropy_loss": Spec(inputs="classes"),
    "poly1_focal_loss": Spec(),
}


@dataclass(frozen=True)
class Case:
    """A public loss under a dual rule, called alike whether it takes a state or not."""

    name: str
    rule_name: str | None = None

    def __str__(self) -> str:
        return "-".join(filter(None, (self.name.removesuffix("_loss"), self.rule_name)))

    @property
    def function(self) -> Callable[..., Any]:
        """The loss itself."""
        return PUBLIC[self.name]

    @property
    def spec(self) -> Spec:
        """What the table says of it."""
        return SPECS[self.name]

    @property
    def goal(self) -> Goal:
        """The goal of a constrained loss."""
        assert self.spec.goal is not None
        return self.spec.goal

    @property
    def target(self) -> tuple[str, float]:
        """Name and value of the target argument."""
        name, value = next(iter(self.spec.arguments.items()))
        return name, value

    @property
    def builder(self) -> Callable[..., Any]:
        """The function that builds the problem."""
        return vars(gobj)[self.name.removesuffix("_loss")]

    @property
    def problem(self) -> gobj.Problem:
        """The problem at the target of the table."""
        return self.builder(self.target[1])

    @property
    def any_problem(self) -> Any:
        """The problem of an objective, or of an area, for the three steps."""
        return self.problem if self.spec.goal else self.builder()

    @property
    def module(self) -> type[torch.nn.Module]:
        """The module of the same name."""
        modules = {name.casefold(): value for name, value in vars(gobj.nn).items()}
        return modules[self.name.replace("_", "").casefold()]

    @property
    def relative(self) -> bool:
        """Tell whether what the loss says of an example is relative to the batch."""
        return self.takes("state") or self.spec.ranks

    @property
    def rule(self) -> gobj.DualRule:
        """The dual rule of the case."""
        assert self.rule_name is not None
        return RULES[self.rule_name]

    def takes(self, argument: str) -> bool:
        """Tell whether the loss has an argument of this name."""
        return argument in PARAMETERS[self.name]

    def start(
        self, labels: tuple[int, ...] = (), dtype: torch.dtype = torch.float64, **options: Any
    ) -> State:
        """Make a new state; nothing for a loss without."""
        if not self.takes("state"):
            return ()
        return self.spec.init(labels, rule=self.rule, dtype=dtype, **options)

    def __call__(
        self, logits: Tensor, labels: Tensor, state: State, **options: Any
    ) -> tuple[Tensor, State]:
        """Return loss and next state."""
        arguments = {**self.spec.arguments, **options}
        if not self.takes("state"):
            return self.function(logits, labels, **arguments), ()
        return self.function(logits, labels, state, **{"rule": self.rule, **arguments})


def rules_of(name: str) -> list[str | None]:
    """Name the rules that a loss runs under; none for a loss without a state."""
    takes_state = "state" in PARAMETERS[name]
    return list(RULES) if takes_state else [None]


CASES = [Case(name, rule) for name in PUBLIC for rule in rules_of(name)]
LOSSES = [Case(name, rules_of(name)[0]) for name in PUBLIC]
STATEFUL = [case for case in CASES if case.takes("state")]
CONSTRAINED = [case for case in LOSSES if case.spec.goal]

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_loss = pytest.mark.parametrize("case", LOSSES, ids=str)
each_stateful = pytest.mark.parametrize("case", STATEFUL, ids=str)
each_aimed = pytest.mark.parametrize("case", [c for c in STATEFUL if c.spec.goal], ids=str)
each_constrained = pytest.mark.parametrize("case", CONSTRAINED, ids=str)


def leaves(state: State) -> list[Tensor]:
    """List the tensors of nested tuples."""
    if isinstance(state, Tensor):
        return [state]
    return [leaf for part in state for leaf in leaves(part)]


def changed(state: State, function: Callable[[Tensor], Tensor]) -> State:
    """Apply a function to the tensors of nested NamedTuples."""
    if isinstance(state, Tensor):
        return function(state)
    return type(state)(*(changed(part, function) for part in state))


def assert_same_state(got: State, want: State) -> None:
    """Compare two states bit for bit."""
    torch.testing.assert_close(leaves(got), leaves(want), rtol=0, atol=0)


def sample(
    case: Case, n: int = 20, labels: tuple[int, ...] = (3,), seed: int = 1
) -> tuple[Tensor, Tensor, Tensor]:
    """Return noisy scores, their labels, and weights per example, in float64."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn((3, n, *labels), generator=generator, dtype=torch.float64)
    weights = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
    classes = (drawn[0] + drawn[1] > 0.5).double()
    if case.spec.inputs != "binary":
        classes = torch.randint(labels[-1], (n,), generator=generator)
    return drawn[0] * 2, classes, weights


def weighted(case: Case, weights: Tensor) -> dict[str, Tensor]:
    """Pass weights to a loss that takes them."""
    return {"weights": weights} if case.takes("weights") else {}


@functools.cache
def warmed(case: Case, labels: tuple[int, ...] = (), batches: int = 3) -> State:
    """Return a state that has seen some batches, different ones for each label."""
    state = case.start(labels)
    for seed in range(batches):
        logits, classes, weights = sample(case, 40, labels, seed)
        _, state = case(logits, classes, state, **weighted(case, weights))
    return state


def gradient(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """Differentiate by autograd."""
    leaf = logits.detach().clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf), leaf)
    return slope
