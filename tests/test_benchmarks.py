"""The benchmarks at a small scale: they run, and say what they say they say."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import gobj
from benchmarks import fuzz, quality, rules, speed
from benchmarks.tables import LEFT_OUT, MANY, table
from gobj.study.splits import Part, Splits


def test_quality_prints_every_line_of_a_row_and_fails_where_one_falls_short(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert quality.main(["--seeds", "2", "--steps", "3", "--only", "toy"]) == 1  # untrained
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["9", "9"]
    assert all(line.endswith("SHORT") for line in lines[:2])
    assert lines[-1] == "2 rows fall short"


def test_the_published_algorithm_is_measured_on_each_of_its_constraints() -> None:
    lines = list(quality.published(quality.Scale(seeds=2, steps=3)))
    assert [line.what for line in lines] == [
        "mlc_churn precision >= 0.95",
        "mlc_churn recall >= 0.9",
        "mlc_churn FPR <= 0.05",
    ]


def test_speed_times_every_loss_in_turn_and_leaves_no_gradient() -> None:
    batch = speed.batch_of((64, 3))
    losses = dict(speed.constrained_losses(torch.Size((3,))))
    losses["bce"] = functional.binary_cross_entropy_with_logits
    seconds = speed.timed(losses, batch, repeats=1)
    assert seconds.keys() == losses.keys()
    assert len(losses) == 9 * len(speed.RULES) + 1
    assert all(value > 0 for value in seconds.values())
    assert batch[0].grad is None


def test_speed_puts_every_stateless_loss_beside_one_of_torch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [name for name, *_ in speed.stateless_losses()]
    assert {"poly1_cross_entropy_loss", "f_beta_loss", "binomial_deviance_loss"} <= set(names)
    losses = {"own": functional.cross_entropy, "poly1": gobj.poly1_cross_entropy_loss}
    batch = torch.randn(8, 3, requires_grad=True), torch.arange(8) % 3
    speed.report(losses, batch, repeats=1, both=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["own", "poly1"]
    assert lines[0].split()[-3] == "1.00"


def test_random_batches_break_no_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--batches", "500", "--seed", "7"]) == 0
    assert capsys.readouterr().out.endswith("500 batches, 0 findings\n")


def test_a_state_that_batches_break_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gobj.constrained.keep_usable", lambda *states: states[1])
    found = [words for seed in range(5) for words in fuzz.findings(seed)]
    assert any("not finite" in words for words in found)


def test_a_state_that_ordinary_batches_cannot_lead_back_is_found() -> None:
    chains = [fuzz.draw_chain(fuzz.Draw(seed)) for seed in range(20)]
    chain = next(c for c in chains if isinstance(c.settings["rule"], gobj.ImplicitMultiplier))
    lost = chain.start._replace(threshold=torch.full_like(chain.start.threshold, 1e9))
    assert fuzz.leads_back(chain, chain.start, fuzz.Draw(0))
    assert not fuzz.leads_back(chain, lost, fuzz.Draw(0))


def test_rules_are_compared_table_by_table(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--seeds", "2", "--steps", "2", "--tables", "nwtco"]
    assert rules.main([*options, "--aims", "average_precision,recall_at_precision"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = [(aim, model, rule) for name, aim, model, rule, *_ in rows if name == "nwtco"]
    summed = [(aim, model, rule) for aim, model, rule, *rest in rows if rest[0] == "won"]
    assert len(shown) == 2 * 2 * len(rules.RULES)
    assert sorted(shown) == sorted(summed)


def test_the_setting_that_is_best_on_validation_rows_is_the_one_that_counts() -> None:
    part = Part(torch.zeros(1, 2, 1), torch.tensor([[1.0, 0.0]]), None)
    good, bad = torch.tensor([[2.0], [1.0]]), torch.tensor([[1.0], [2.0]])

    def measure(_: Part, scores: Tensor) -> Tensor:
        return scores[0]

    for scores, expected in (([(good, bad), (bad, good)], 1.0), ([(bad, bad), (good, good)], 2.0)):
        assert rules.chosen(measure, Splits(part, part, part), scores).item() == expected


def test_a_gap_is_what_probabilities_are_off_by() -> None:
    labels = (torch.arange(100) % 10 < 3).float().expand(2, 100)
    read = torch.stack([torch.full((100,), 0.3), torch.full((100,), 0.5)], 1)
    assert rules.gap(read, labels).tolist() == pytest.approx([0.0, 0.2], abs=1e-6)


def test_reliability_is_printed_beside_that_of_cross_entropy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--seeds", "2", "--steps", "2", "--tables", "nwtco", "--reliability"]
    assert rules.main(options) == 0
    words = capsys.readouterr().out.split()
    assert words[0] == "nwtco"
    assert all(key in words for key in ("read", "not", "cross"))


def test_tables_leave_out_what_is_no_feature() -> None:
    assert table("nwtco").features.shape[1] == 5
    assert set(LEFT_OUT) < set(MANY)
