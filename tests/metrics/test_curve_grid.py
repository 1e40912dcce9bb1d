import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from gobj import _batch
from gobj.metrics import ScoreGrid, curve_compute, curve_init, curve_merge, curve_update

SCORES = st.lists(
    st.floats(-1e9, 1e9) | st.floats(-1e-9, 1e-9) | st.integers(-3, 3).map(float), max_size=30
)


def filled(scores: Tensor, labels: Tensor, batches: int = 1, cells: int = 1024) -> ScoreGrid:
    state = curve_init(cells=cells)
    for part in zip(scores.chunk(batches), labels.chunk(batches), strict=True):
        state = curve_update(state, *part)
    assert isinstance(state, ScoreGrid)
    return state


def alternating(scores: list[float]) -> tuple[Tensor, Tensor]:
    return torch.tensor(scores, dtype=torch.float64), torch.arange(len(scores)) % 2


def normal(
    shift: float, scale: float, place: float = 0.0, share: float = 0.1
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(10**6, generator=generator) < share).double()
    scores = torch.randn(10**6, generator=generator, dtype=torch.float64)
    return place + scale * (scores + shift * labels), labels


def transformed(name: str) -> tuple[Tensor, Tensor]:
    scores, labels = normal(1.5, 1.0)
    return {"log-normal": scores.mul(1.5).exp() - 6, "heavy tails": scores.mul(1.2).sinh()}[
        name
    ], labels


DISTRIBUTIONS = {
    "typical": lambda: normal(2.0, 1.0),
    "single precision": lambda: (normal(2.0, 1.0)[0].float(), normal(2.0, 1.0)[1]),
    "one in a thousand": lambda: normal(3.0, 1.0, -6.0, share=0.001),
    "wide": lambda: normal(2.0, 1e3),
    "tiny": lambda: normal(2.0, 1e-4),
    "tiny and far from zero": lambda: normal(2.0, 1e-3, 7.0),
    "probabilities": lambda: (normal(2.0, 1.5, -6.0)[0].sigmoid(), normal(2.0, 1.5)[1]),
    "log-normal": lambda: transformed("log-normal"),
    "heavy tails": lambda: transformed("heavy tails"),
    "rounded": lambda: (normal(2.0, 1.0)[0].mul(10).round() / 10, normal(2.0, 1.0)[1]),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_thousand_cells_give_the_areas_of_a_million_scores(name: str) -> None:
    scores, labels = DISTRIBUTIONS[name]()
    exact = curve_compute(curve_update(curve_init(), scores, labels), max_fpr=0.1)
    gridded = curve_compute(filled(scores, labels, batches=7), max_fpr=0.1)
    torch.testing.assert_close(gridded, exact, rtol=0, atol=1e-3)


def test_four_thousand_cells_give_the_areas_of_half_precision_scores() -> None:
    scores, labels = normal(2.0, 1.0)
    exact = curve_compute(curve_update(curve_init(), scores.bfloat16(), labels))
    gridded = curve_compute(filled(scores.bfloat16(), labels, cells=4096))
    torch.testing.assert_close(gridded, exact, rtol=0, atol=2e-4)


def test_weighted_areas_are_those_of_the_weighted_scores() -> None:
    scores, labels = normal(2.0, 1.0)
    weights = scores.cos().abs() * 3
    exact, gridded = (
        curve_compute(curve_update(curve_init(cells=cells), scores, labels, weights=weights))
        for cells in (None, 1024)
    )
    torch.testing.assert_close(gridded["roc_auc"], exact["roc_auc"], rtol=0, atol=1e-3)
    name = "average_precision"
    torch.testing.assert_close(gridded[name], exact[name], rtol=0, atol=1e-3)


def test_few_repeated_scores_are_exact() -> None:
    scores, labels = normal(1.0, 1.0)
    scores = scores.round()
    exact = curve_compute(curve_update(curve_init(), scores, labels), target_precision=0.3)
    gridded = curve_compute(filled(scores, labels), target_precision=0.3)
    for name in ("roc_auc", "average_precision", "recall_at_precision"):
        torch.testing.assert_close(gridded[name], exact[name], rtol=1e-12, atol=1e-12)


@given(SCORES, st.integers(1, 4), st.randoms(use_true_random=False), st.sampled_from([4, 5, 64]))
def test_a_grid_depends_on_its_scores_alone(scores, batches, random, cells) -> None:  # noqa: ANN001
    pairs = list(zip(*(column.tolist() for column in alternating(scores)), strict=True))
    random.shuffle(pairs)
    shuffled = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2)
    at_once = filled(*alternating(scores), cells=cells)
    in_parts = filled(shuffled[:, 0], shuffled[:, 1], min(batches, max(len(pairs), 1)), cells)
    torch.testing.assert_close(in_parts, at_once, rtol=0, atol=0)


@given(SCORES, SCORES, SCORES, st.sampled_from([4, 5, 64]))
def test_merging_grids_is_counting_all_their_scores(
    one: list[float], two: list[float], three: list[float], cells: int
) -> None:
    parts = [alternating(scores) for scores in (one, two, three)]
    merged = curve_merge(*(filled(*part, cells=cells) for part in parts))
    whole = filled(*(torch.cat(column) for column in zip(*parts, strict=True)), cells=cells)
    torch.testing.assert_close(merged, whole, rtol=0, atol=0)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_furthest_scores_share_a_cell_whatever_comes_later(side: float) -> None:
    far = torch.tensor([-1.0, -1.5e7, -1e9, -math.inf]).double() * side
    near = torch.zeros(1, dtype=torch.float64)
    first = filled(near, torch.zeros(1), cells=64)
    later = curve_update(first, far, torch.ones(4))
    merged = curve_merge(first, filled(far, torch.ones(4), cells=64))
    torch.testing.assert_close(merged, later, rtol=0, atol=0)
    assert sorted(later.weights[1].tolist())[-2:] == [1.0, 3.0]
    for score in far:  # alone in their grid
        one = score[None], torch.ones(1)
        merged, later = curve_merge(first, filled(*one, cells=64)), curve_update(first, *one)
        torch.testing.assert_close(merged, later, rtol=0, atol=0)


@given(SCORES)
def test_no_weight_is_lost_while_the_range_grows(scores: list[float]) -> None:
    state = curve_init(cells=8)
    for score in scores:
        state = curve_update(state, torch.tensor([score]), torch.tensor([1]))
    assert state.weights.sum().item() == len(scores)


def test_memory_does_not_grow() -> None:
    state = curve_init(cells=64)
    for step in range(20):
        state = curve_update(state, torch.randn(50) * step, torch.ones(50))
    assert state.weights.shape == (2, 64)


def test_a_lone_outlier_leaves_the_areas_alone() -> None:
    scores, labels = normal(2.0, 1.0)
    exact = curve_compute(curve_update(curve_init(), scores, labels))["roc_auc"]
    ends = torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)
    state = curve_update(filled(scores, labels), ends, torch.tensor([0, 1]))
    torch.testing.assert_close(curve_compute(state)["roc_auc"], exact, rtol=0, atol=1e-3)


def test_the_precision_of_a_rare_positive_counts_the_positive_itself() -> None:
    scores = torch.tensor([3.0, 2.0, 1.0, 0.0])
    state = filled(scores, torch.tensor([0, 1, 0, 0]))
    torch.testing.assert_close(curve_compute(state)["average_precision"].item(), 0.5)


def test_order_within_a_cell_is_averaged_over() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(60) % 3 == 0
    orders = [labels[torch.randperm(60, generator=generator)] for _ in range(2000)]
    scores = torch.arange(60.0).expand(2000, 60).T
    exact = curve_update(curve_init((2000,)), scores, torch.stack(orders, 1))
    state = filled(torch.arange(60) / 1e4, labels, cells=4)
    within = state._replace(weights=torch.tensor([[0.0, 40, 0, 0], [0, 20, 0, 0]]).double())
    beside = within._replace(weights=within.weights + torch.tensor([1e-9, 0, 0, 0]))
    got = curve_compute(beside)["average_precision"]
    expected = curve_compute(exact)["average_precision"].mean()
    torch.testing.assert_close(got, expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_of_examples_add_up(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels = torch.randn(50, 3), torch.rand(50, 3) < 0.4
    weights = torch.rand(50) if weighted else None

    def counted() -> list[Tensor]:
        return [*curve_update(curve_init((3,), cells=64), scores, labels, weights=weights)]

    whole = counted()
    monkeypatch.setattr(_batch, "BLOCK", 21)
    torch.testing.assert_close(counted(), whole)
