"""Certificates: exact tails, what they promise on the distribution, and what changes nothing."""

import math
from typing import Any

import pytest
import torch
from scipy import stats

import gobj
from gobj.operating_point._binomial import binomial_cdf, most_successes, upper_bound
from tests.operating_point.samples import AIMS, Aim, draw, true_rates

each_aim = pytest.mark.parametrize("aim", AIMS.values(), ids=AIMS)
TARGETS = {"precision": 0.85, "recall": 0.85, "fpr": 0.1, "npv": 0.93, "flagged": 0.2}
DELTA = 0.05


def test_tails_are_those_of_the_binomial_distribution() -> None:
    generator = torch.Generator().manual_seed(0)
    trials = torch.randint(1, 4000, (500,), generator=generator).double()
    rate = torch.rand(500, generator=generator, dtype=torch.float64)
    spread = torch.randn(500, generator=generator).double() * trials.sqrt() / 2
    successes = (trials * rate + spread).round().clamp(min=-1).minimum(trials)
    got = binomial_cdf(successes, trials, rate)
    want = torch.from_numpy(stats.binom.cdf(successes, trials, rate))
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-14)
    bound = torch.from_numpy(stats.beta.ppf(0.95, successes + 1, trials - successes))
    some = (successes >= 0) & (successes < trials)
    upper = upper_bound(successes, trials, DELTA)
    torch.testing.assert_close(upper[some], bound[some], rtol=0, atol=1e-9)
    most = most_successes(trials, rate, DELTA)
    known = torch.from_numpy(stats.binom.ppf(DELTA, trials, rate))
    assert bool((most <= known).all() & (most >= known - 1).all())
    assert bool((binomial_cdf(most, trials, rate) <= DELTA)[most >= 0].all())
    assert bool((binomial_cdf(most + 1, trials, rate) > DELTA).all())


@each_aim
@pytest.mark.parametrize("digits", [None, 1], ids=["continuous", "ties"])
@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_the_constraint_holds_on_the_distribution(
    aim: Aim, digits: int | None, prior: float
) -> None:
    repeats, target = 200, TARGETS[aim.rate]
    scores, labels = draw(600, prior, repeats, 2.5, digits)
    certificate = gobj.certify(scores, labels, aim.builder(target))
    rate = true_rates(certificate.threshold, prior, 2.5, digits)[aim.rate]
    broken = certificate.feasible & (rate < target if aim.at_least else rate > target)
    share = broken.double().mean().item()
    assert share <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / repeats)
    assert certificate.feasible.any()


def test_a_threshold_without_a_margin_breaks_what_a_certificate_holds() -> None:
    scores, labels = draw(600, 0.5, 200, 2.5, None)
    problem = gobj.tpr_at_fpr(0.1)
    fitted = gobj.fit_threshold(scores, labels, problem)
    certified = gobj.certify(scores, labels, problem)
    broken = [
        (true_rates(found.threshold, 0.5, 2.5, None)["fpr"] > 0.1).double().mean()
        for found in (fitted, certified)
    ]
    assert broken[0] > 0.3
    assert broken[1] < 0.1


def test_recall_and_fpr_are_order_statistics() -> None:
    scores, labels = draw(500, 0.4, 1, 2.0, None)
    scores, labels = scores[:, 0], labels[:, 0]
    negatives = scores[~labels].sort(descending=True).values
    most = int(stats.binom.ppf(DELTA, len(negatives), 0.1))
    most -= stats.binom.cdf(most, len(negatives), 0.1) > DELTA
    certificate = gobj.certify(scores, labels, gobj.tpr_at_fpr(0.1))
    # as many negatives as that are above; the next is not
    assert (negatives > certificate.threshold).sum() == most
    assert certificate.rate_bound <= 0.1
    assert certificate.rate_bound == pytest.approx(
        stats.beta.ppf(0.95, most + 1, len(negatives) - most)
    )


@each_aim
def test_a_certificate_is_never_looser_than_the_fit(aim: Aim) -> None:
    scores, labels = draw(800, 0.3, 20, 2.0, 1)
    problem = aim.builder(TARGETS[aim.rate])
    certificate = gobj.certify(scores, labels, problem)
    fitted = gobj.fit_threshold(scores, labels, problem)
    some = certificate.feasible
    assert some.any()
    assert bool((certificate.rate <= certificate.rate_limit)[some].all())
    assert bool((certificate.rate_bound <= certificate.rate_limit + 1e-9)[some].all())
    assert bool((certificate.point.cost >= fitted.cost - 1e-12)[some].all())
    assert bool((certificate.cost_low <= certificate.cost_rate).all())
    assert bool((certificate.cost_rate <= certificate.cost_high).all())


@each_aim
def test_more_examples_and_less_confidence_cost_less(aim: Aim) -> None:
    problem, costs = aim.builder(TARGETS[aim.rate]), []
    scores, labels = draw(4000, 0.3, 30, 2.5, None)
    for rows, confidence in ((500, 0.95), (4000, 0.95), (4000, 0.8)):
        some = scores[:rows], labels[:rows]
        costs.append(gobj.certify(*some, problem, confidence=confidence).point.cost.mean())
    assert costs[0] >= costs[1] >= costs[2]


@each_aim
def test_order_ties_and_repetition(aim: Aim) -> None:
    scores, labels = (x[:, 0] for x in draw(300, 0.4, 1, 2.5, 1))
    counts = torch.arange(300) % 4
    problem = aim.builder(TARGETS[aim.rate])
    want = gobj.certify(scores, labels, problem, weights=counts)
    order = torch.randperm(300)
    again = gobj.certify(scores[order], labels[order], problem, weights=counts[order])
    torch.testing.assert_close(again, want)
    repeated = [x.repeat_interleave(counts) for x in (scores, labels)]
    torch.testing.assert_close(gobj.certify(*repeated, problem), want)


@each_aim
def test_labels_are_certified_by_themselves_or_all_at_once(aim: Aim) -> None:
    scores, labels = draw(900, 0.4, 4, 2.5, None)
    problem = aim.builder(TARGETS[aim.rate])
    each = gobj.certify(scores, labels, problem)
    alone = gobj.certify(scores[:, 2], labels[:, 2], problem)
    torch.testing.assert_close(each.threshold[2], alone.threshold)
    together = gobj.certify(scores, labels, problem, simultaneous="bonferroni")
    strict = gobj.certify(scores, labels, problem, confidence=1 - DELTA / 4)
    torch.testing.assert_close(together.threshold, strict.threshold)
    assert bool((together.point.cost >= each.point.cost - 1e-12).all())


@each_aim
def test_a_small_sample_says_about_how_many_would_do(aim: Aim) -> None:
    scores, labels = draw(12, 0.5, 1, 2.5, None)
    problem = aim.builder(0.02 if not aim.at_least else 0.98)
    certificate = gobj.certify(scores, labels, problem)
    assert not certificate.feasible.any()
    assert bool((certificate.examples_needed > 12).all())
    assert bool(certificate.threshold.isinf().all())
    assert "12" in gobj.explain(certificate)


def test_enough_examples_are_about_enough() -> None:
    problem, scores_of = gobj.recall_at_precision(0.85), (0.3, 1, 2.5, None)
    small = gobj.certify(*draw(80, *scores_of), problem)
    assert not small.feasible.any()
    needed = int(small.examples_needed.item())
    assert 80 < needed < 3000
    many = gobj.certify(*draw(3 * needed, 0.3, 20, 2.5, None), problem)
    assert many.feasible.double().mean() > 0.7


def test_any_limit_of_one_rate_is_certified() -> None:
    """Alarms as a share of all examples."""
    alarms = gobj.LinearForm(false_positive=1.0, positives=-0.02, negatives=-0.02)
    scores, labels = draw(2000, 0.5, 200, 3.0, None)
    problem = gobj.Problem(gobj.LinearForm(false_negative=1.0), alarms)
    certificate = gobj.certify(scores, labels, problem)
    assert bool(certificate.feasible.all())
    torch.testing.assert_close(certificate.rate_limit, torch.full((200,), 0.02).double())
    true = 0.5 * true_rates(certificate.threshold, 0.5, 3.0, None)["fpr"]
    assert (true > 0.02).double().mean() < 0.1


def test_a_missing_score_spoils_its_own_label_alone() -> None:
    scores, labels = draw(900, 0.4, 2, 2.5, None)
    scores[3, 1] = torch.nan
    for aim in AIMS.values():
        problem = aim.builder(TARGETS[aim.rate])
        both = gobj.certify(scores, labels, problem)
        alone = gobj.certify(scores[:, 0], labels[:, 0], problem)
        torch.testing.assert_close(both.threshold[0], alone.threshold)
        assert not both.feasible[1]


def test_labels_may_be_priced_apart() -> None:
    scores, labels = (x.expand(-1, 2) for x in draw(900, 0.4, 1, 2.5, None))
    cost = gobj.LinearForm(
        false_negative=torch.tensor([1.0, 0.0]), false_positive=torch.tensor([0.0, 1.0])
    )
    problem = gobj.Problem(cost, gobj.tpr_at_fpr(0.1).constraint)
    certificate = gobj.certify(scores, labels, problem)
    want = torch.stack((1 - certificate.point.recall[0], certificate.point.fpr[1]))
    torch.testing.assert_close(certificate.cost_rate, want)


def test_what_is_no_rate_is_refused() -> None:
    sample = torch.randn(20), torch.arange(20) % 2
    priced = gobj.LinearForm(false_negative=3.0, false_positive=1.0, positives=-0.5)
    problem = gobj.Problem(gobj.LinearForm(false_negative=1.0), priced)
    with pytest.raises(ValueError, match=r"^certify: `problem` must have a constraint that limits"):
        gobj.certify(*sample, problem)
    error = gobj.LinearForm(false_negative=1.0, false_positive=1.0, positives=-0.4, negatives=-0.4)
    with pytest.raises(ValueError, match=r"^certify: `problem` must have a constraint that limits"):
        gobj.certify(*sample, gobj.Problem(gobj.LinearForm(false_negative=1.0), error))
    for logits, labels, weights in (
        (sample[0], sample[1] * 0.9, None),
        (*sample, 10.5),
        (*sample, torch.rand(20)),
    ):
        with pytest.raises(ValueError, match=r"^certify: `weights` must be whole numbers"):
            gobj.certify(logits, labels, gobj.tpr_at_fpr(0.1), weights=weights)
    options: list[tuple[str, Any]] = [("confidence", 1.0), ("simultaneous", "holm")]
    for name, value in options:
        with pytest.raises(ValueError, match=rf"^certify: `{name}` must "):
            gobj.certify(*sample, gobj.tpr_at_fpr(0.1), **{name: value})
    with pytest.raises(ValueError, match=r"^explain: `certificate` must come from"):
        gobj.explain(sample)  # type: ignore[arg-type]


def test_a_large_first_tie_that_meets_the_limit_is_certified() -> None:
    row = torch.arange(5000)
    scores = 2.0 * (row < 300) + 1.0 * (row < 320)  # 290 of the first 300 are right
    labels = (row >= 10) & (row < 300)
    certificate = gobj.certify(scores, labels, gobj.recall_at_precision(0.9))
    assert bool(certificate.feasible)
    assert certificate.point.flagged.item() == pytest.approx(300 / 5000)


@pytest.mark.parametrize("ties", [[0.3, 0.3, 0.4], [0.1] * 10, [0.02, 0.08, 0.9]])
def test_ties_whose_precision_is_the_limit_are_rarely_certified(ties: list[float]) -> None:
    repeats, generator = 1000, torch.Generator().manual_seed(0)
    sizes = torch.tensor(ties).expand(repeats, -1)
    scores = torch.multinomial(sizes, 1000, replacement=True, generator=generator).T
    labels = torch.rand(scores.shape, generator=generator) < 0.9 - 1e-6
    certificate = gobj.certify(-scores.float(), labels, gobj.recall_at_precision(0.9))
    broken = certificate.feasible.double().mean().item()
    assert 0 < broken <= DELTA + 3 * math.sqrt(DELTA * (1 - DELTA) / repeats)


def test_a_sample_that_cannot_be_counted_is_said_to_be_so() -> None:
    labels = torch.tensor([-1.0, 1.0] * 50)
    certificate = gobj.certify(torch.linspace(-1, 1, 100), labels, gobj.tpr_at_fpr(0.1))
    assert not certificate.feasible
    assert "nothing can be counted" in gobj.explain(certificate)
