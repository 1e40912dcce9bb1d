"""The benchmarks at a small scale: they run, and say what they say they say."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import gobj
from benchmarks import (
    aims,
    certificates,
    comparing,
    confusion,
    deep,
    fuzz,
    networks,
    points,
    quality,
    rules,
    scale,
    speed,
)
from benchmarks.tables import LEFT_OUT, MANY, table
from gobj.losses.confusion_metrics import f_beta
from gobj.study.splits import Part, Splits, split


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
    options = ["--seeds", "2", "--steps", "2", "--tables", "nwtco", "--jobs", "1"]
    assert rules.main([*options, "--aims", "average_precision,recall_at_precision"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    shown = [(aim, model, rule) for name, aim, model, rule, *_ in rows if name == "nwtco"]
    summed = [(aim, model, rule) for aim, model, rule, *rest in rows if rest[0] == "won"]
    assert len(shown) == 2 * 2 * 2
    assert sorted(shown) == sorted(summed)


def test_the_setting_that_is_best_on_validation_rows_is_the_one_that_counts() -> None:
    part = Part(torch.zeros(1, 2, 1), torch.tensor([[1.0, 0.0]]), None)
    low, high = torch.tensor([[1.0]]), torch.tensor([[2.0]])

    def measure(_: Part, scores: Tensor) -> Tensor:
        return scores[0]

    for pairs, expected in ((((high, low), (low, high)), 1.0), (((low, low), (high, high)), 2.0)):
        found = [comparing.Fit("", True, low, *pair, None) for pair in pairs]
        assert comparing.judged(measure, Splits(part, part, part), found).item() == expected


def test_models_are_looked_at_on_their_way() -> None:
    splits = split(table("breast_cancer"), 2)
    found = comparing.fits(splits, "linear", 10)
    settings = len(comparing.MODELS["linear"].settings)
    assert len(found) == settings * len(comparing.STOPS)
    assert [fit.last for fit in found] == [False, False, True] * settings
    assert len({tuple(fit.test[:, 0].tolist()) for fit in found}) == len(found)


def test_a_converged_regression_and_boosting_rank_well() -> None:
    splits, aim = split(table("breast_cancer"), 2), aims.areas()["roc_auc"]
    for found in (comparing.logistic_regressions(splits), comparing.boosters(splits)):
        assert comparing.judged(aim.measure, splits, found).min().item() > 0.97


def test_cells_hold_gains_and_misses(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = points.cells("breast_cancer", ["implicit", "focus"], [32, 512], 2, 3)
    assert len(found) == 6 * 2 * 2 * 2 * 2
    assert all(cell.gain == cell.gain and cell.spread >= 0 for cell in found)
    assert all(cell.over_default == 0 for cell in found if cell.rule == "implicit")
    file = str(tmp_path / "cells.csv")
    options = ["--seeds", "2", "--steps", "2", "--tables", "OJ", "--jobs", "1", "--out", file]
    assert points.main([*options, "--rules", "implicit;q 0.7", "--batches", "512"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("q 0.7") > 6
    assert points.main(["--read", file]) == 0
    assert capsys.readouterr().out == printed


def test_a_miss_is_relative_where_the_rate_has_to_stay_low() -> None:
    part = Part(torch.arange(10.0).view(1, 10, 1), torch.tensor([[0.0] * 5 + [1.0] * 5]), None)
    layers = [torch.ones(1, 1, 1), torch.zeros(1, 1, 1)]
    state = gobj.init_state((1,))._replace(threshold=torch.tensor([3.5]))
    for name, target, miss in (("tpr_at_fpr", 0.1, 1.0), ("precision_at_recall", 0.8, 0.2)):
        aim = aims.point(name, target)
        found = points.miss_of(aim, Splits(part, part, part), layers, state)
        assert found.item() == pytest.approx(miss)


def test_networks_are_compared_with_cross_entropy(capsys: pytest.CaptureFixture[str]) -> None:
    methods = "Smooth-AP;AP, focus;TPR, implicit"
    options = ["--seeds", "2", "--share", "0.003", "--jobs", "1", "--methods", methods]
    assert networks.main([*options, "--tasks", "digits, 10 labels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + 3 + 1 + 1  # all measures of two methods, one of each of ours
    assert all("+0.000+-0.000" in line for line in lines if " BCE " in line)


def test_every_task_has_inputs_for_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "IMAGES", (100, 50, 50))
    for task in deep.TASKS.values():
        rows = task.parts(0)
        for part in rows:
            assert part.inputs.isfinite().all()
            assert task.network(rows.train)(part.inputs).shape == part.labels.shape
    deep.shapes.cache_clear()


def test_smooth_ranks_are_ranks_where_it_is_cold() -> None:
    logits, labels = (
        torch.tensor([[3.0], [2.0], [1.0], [0.0]]),
        torch.tensor([[0.0], [1], [0], [1]]),
    )
    loss = networks.smooth_average_precision(deep.Rows(logits, labels), 1e-3)
    assert loss(logits, labels, torch.arange(4)).item() == pytest.approx(1 - (1 / 2 + 2 / 4) / 2)


def test_confusion_losses_stand_beside_the_best_ordinary_method(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--seeds", "2", "--steps", "5", "--tables", "breast_cancer", "--jobs", "1"]
    assert confusion.main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("best ordinary" in line and "mean +0.0000" in line for line in lines) == 6


def test_a_threshold_comes_from_validation_rows() -> None:
    labels, scores = torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.0], [1.0], [2.0]])
    part = Part(torch.zeros(1, 3, 1), labels, None)
    shifted = comparing.Fit("", True, scores, scores, scores + 5, None)
    for read, reached in ((confusion.at_best, 0.8), (confusion.at_zero, 0.8)):
        value = read(f_beta, Splits(part, part, part), shifted)
        assert value.test.item() == pytest.approx(reached)  # all are called positive
    assert confusion.at_best(f_beta, Splits(part, part, part), shifted).validation.item() == 1


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


def test_scale_counts_what_each_loss_sends(capsys: pytest.CaptureFixture[str]) -> None:
    lines = scale.wire(rows=16)
    sent = {name: (calls, one, hundred) for name, calls, one, hundred in lines}
    named = {name for name in vars(gobj) if name.endswith("_loss")}
    needing = {"constrained_loss", "linear_constrained_loss", "confusion_metric_loss"}
    assert sent.keys() == named - needing
    # nine sums, one of them the distance, and the number of examples, in float32
    assert sent["recall_at_precision_loss"] == (1, 4 * 10, 4 * (9 * 100 + 1))
    assert sent["f_beta_loss"] == (1, 4 * 4, 4 * 400)
    scale.project(lines)
    assert capsys.readouterr().out.count("f_beta_loss") == 2


def test_scale_times_a_sweep_and_a_long_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert scale.sweep(64, 1, "aot_eager").keys() == {"one", "native", "vmap"}
    scale.long_run(3000, "aot_eager")
    last = capsys.readouterr().out.splitlines()[-1]
    precision = float(last.split("precision")[1].split()[0])
    assert 0.7 < precision < 0.9


def test_certificates_are_simulated_and_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = list(certificates.simulate(1000, 0.5, None, repeats=40))
    assert [name for name, *_ in found] == list(certificates.AIMS)
    for _, misses, feasible, reached, best in found:
        assert misses <= 0.2
        assert feasible > 0.5
        assert reached <= best
    assert certificates.main(["--only", "controllers", "--seeds", "1", "--tables", "ad_data"]) == 0
    certificates.main(["--only", "pictures", "--out", str(tmp_path)])
    assert {path.name for path in tmp_path.iterdir()} == {"certificates.png", "training.png"}
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" met ")[0].strip() for line in lines[-3:]] == list(certificates.METHODS)
