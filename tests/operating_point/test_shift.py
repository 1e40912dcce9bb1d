"""Thresholds for another share of positives."""

from typing import Any

import pytest
import torch

import gobj
from tests.operating_point.samples import draw, true_rates


@pytest.mark.parametrize("prior", [0.03, 0.1, 0.3, 0.7])
@pytest.mark.parametrize("digits", [None, 1], ids=["continuous", "ties"])
def test_the_share_of_positives_is_found_without_labels(prior: float, digits: int | None) -> None:
    scores, labels = draw(20_000, 0.4, 3, 2.0, digits)
    unknown, truth = draw(20_000, prior, 3, 2.0, digits, seed=1)
    shift = gobj.adjust_threshold(scores, labels, gobj.recall_at_precision(0.8), unknown)
    torch.testing.assert_close(shift.prior, truth.double().mean(0), rtol=0.1, atol=0.01)


def test_the_threshold_is_right_for_the_new_population() -> None:
    """Precision falls where positives are rarer, unless the threshold rises."""
    scores, labels = draw(50_000, 0.5, 1, 2.5, None)
    unknown, _ = draw(50_000, 0.1, 1, 2.5, None, seed=1)
    problem = gobj.recall_at_precision(0.8)
    before = gobj.fit_threshold(scores, labels, problem).threshold
    after = gobj.adjust_threshold(scores, labels, problem, unknown).point.threshold
    assert true_rates(before, 0.1, 2.5, None)["precision"] < 0.5
    assert true_rates(after, 0.1, 2.5, None)["precision"] == pytest.approx(0.8, abs=0.02)


def test_any_scale_of_the_scores_will_do() -> None:
    scores, labels = draw(4000, 0.4, 1, 2.0, None)
    unknown, _ = draw(4000, 0.1, 1, 2.0, None, seed=1)
    problem = gobj.tpr_at_fpr(0.1)
    plain = gobj.adjust_threshold(scores, labels, problem, unknown)
    squashed = gobj.adjust_threshold(scores.sigmoid(), labels, problem, unknown.sigmoid())
    torch.testing.assert_close(squashed.prior, plain.prior)
    torch.testing.assert_close(squashed.point.threshold, plain.point.threshold.sigmoid())


def test_a_missing_score_makes_the_share_unknown() -> None:
    scores, labels = draw(500, 0.4, 2, 2.0, None)
    unknown = draw(500, 0.1, 2, 2.0, None, seed=1)[0]
    unknown[4, 1] = torch.nan
    shift = gobj.adjust_threshold(scores, labels, gobj.tpr_at_fpr(0.1), unknown)
    assert shift.prior.isnan().tolist() == [False, True]


def test_other_positives_mislead() -> None:
    """The case of the docstring: the positives have become milder, and not fewer."""
    scores, labels = draw(20_000, 0.3, 1, 2.5, None)
    milder, _ = draw(20_000, 0.3, 1, 1.2, None, seed=1)
    shift = gobj.adjust_threshold(scores, labels, gobj.tpr_at_fpr(0.1), milder)
    assert shift.prior.item() < 0.2


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("new_logits", torch.ones(3, 2)),
        ("new_logits", torch.ones(3).long()),
        ("new_logits", torch.ones(0)),
        ("bins", 1),
    ],
    ids=["labels", "whole numbers", "nobody", "one bin"],
)
def test_what_does_not_fit_is_refused(name: str, wrong: Any) -> None:
    given: dict[str, Any] = {"new_logits": torch.ones(4), name: wrong}
    with pytest.raises(ValueError, match=rf"^adjust_threshold: `{name}` must "):
        gobj.adjust_threshold(torch.ones(4), torch.arange(4) % 2, gobj.tpr_at_fpr(0.1), **given)
