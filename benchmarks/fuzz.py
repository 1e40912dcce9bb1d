"""Feed every loss with a state random batches, most of them broken: ``python -m benchmarks.fuzz``.

A chain of batches carries one state through shapes from empty to [700, 3], scores from 1e-30 to
1e30, NaN, infinities, ties, half precision, transposed memory, labels that are none, and weights
of 0 and from 1e-20 to 1e20. What must not happen: an exception, a state that is not finite, or one
from which a row of ordinary batches does not lead back. The exit code is 1 if anything does.
"""

import argparse
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm  # type: ignore[import-untyped]

import gobj

CHAIN = 50  # batches that one state goes through
ORDINARY = 200  # batches that lead it back
SHAPES = ((0,), (1,), (2,), (9,), (300,), (0, 3), (1, 3), (40, 3), (700, 3), (6, 2, 2))
RULES = (
    gobj.ImplicitMultiplier(),
    gobj.ImplicitMultiplier(order="weigh_first"),
    gobj.FocusedCrossEntropy(),
    gobj.FocusedCrossEntropy(order="weigh_first", width=0.1),
    gobj.DualAscent(rate=0.5, proportional=0.5),
    gobj.DualAscent(rate=0.5, order="update_first"),
    gobj.DualAscent(rate=0.1, signal="surrogate", cap=10.0, threshold_rate=0.01),
    gobj.FrozenDual(),
)
SURROGATES = (
    None,
    gobj.cross_entropy,
    gobj.hinge,
    gobj.squared_hinge,
    gobj.sigmoid(0.1),
    gobj.generalized_cross_entropy(0.7),
)
TARGETS = (0.02, 0.3, 0.5, 0.9, 0.99)


class Draw:
    """Random choices that a seed repeats."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw a number."""
        return low + (high - low) * torch.rand((), generator=self.generator).item()

    def one(self, choices: Any) -> Any:
        """Choose one."""
        return choices[int(self.number(0, len(choices)))]

    def normal(self, shape: tuple[int, ...]) -> Tensor:
        """Draw normal numbers."""
        return torch.randn(shape, generator=self.generator)

    def mask(self, shape: tuple[int, ...], share: float) -> Tensor:
        """Draw truth values."""
        return torch.rand(shape, generator=self.generator) < share


class Chain(NamedTuple):
    """A loss with its settings, and the label shape that its state is for."""

    name: str
    loss: Callable[..., tuple[Tensor, Any]]
    settings: dict[str, Any]
    labels: tuple[int, ...]
    start: Any


def losses_with_state() -> dict[str, Callable[..., Any]]:
    """Find the public losses that take a state, each with its own problem."""
    found = {name: value for name, value in vars(gobj).items() if name.endswith("_loss")}
    parameters = {name: inspect.signature(value).parameters for name, value in found.items()}
    return {
        name: value
        for name, value in found.items()
        if "state" in parameters[name] and "problem" not in parameters[name]
    }


def draw_chain(draw: Draw) -> Chain:
    """Choose a loss, a rule, a surrogate and a label shape."""
    losses = losses_with_state()
    name = draw.one(list(losses))
    rule, labels = draw.one(RULES), draw.one(sorted({shape[1:] for shape in SHAPES}))
    required = inspect.signature(losses[name]).parameters.values()
    targets = [p.name for p in required if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    settings = {target: draw.one(TARGETS) for target in targets}
    settings |= {"rule": rule, "surrogate": draw.one(SURROGATES) if rule.surrogate else None}
    anchors = None if targets else draw.one((1, 4, 9))
    dtype = draw.one((torch.float32, torch.float64))
    start = gobj.init_state(labels, rule=rule, anchors=anchors, dtype=dtype)
    return Chain(name, losses[name], settings, labels, start)


def draw_scores(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Draw scores of any size, some of them missing, infinite or alike."""
    scores = draw.normal(shape).double() * 10 ** draw.number(-30, 30)
    if draw.number() < 0.7:
        scores = draw.normal(shape) * 10 ** draw.number(-2, 2)
    if draw.number() < 0.2:
        scores = scores.round()
    for value in (torch.nan, torch.inf, -torch.inf, 1e30, 0.0):
        if draw.number() < 0.08:
            scores = scores.masked_fill(draw.mask(shape, draw.one((0.02, 0.5, 1.0))), value)
    scores = scores.to(draw.one((torch.float32,) * 3 + (torch.float64, torch.float16)))
    scores = scores.bfloat16() if draw.number() < 0.1 else scores
    return scores.mT.contiguous().mT if scores.dim() > 1 and draw.number() < 0.3 else scores


def draw_labels(draw: Draw, shape: tuple[int, ...]) -> Tensor:
    """Draw labels of any share and dtype, some soft, some none."""
    labels = draw.mask(shape, draw.one((0.0, 0.01, 0.3, 1.0)))
    kind = draw.number()
    if kind < 0.5:
        return labels
    if kind < 0.7:
        return labels.to(draw.one((torch.uint8, torch.int64, torch.float16)))
    if kind < 0.9:
        return torch.rand(shape, generator=draw.generator)
    return labels.float().masked_fill(draw.mask(shape, 0.1), draw.one((torch.nan, -100, 2, 1e30)))


def draw_options(draw: Draw, shape: tuple[int, ...]) -> dict[str, Any]:
    """Draw weights and the rest of what may differ between calls."""
    options: dict[str, Any] = {"reduction": draw.one(("mean", "mean", "sum", "none"))}
    if draw.number() < 0.5:
        size = shape[: draw.one(range(len(shape) + 1))]
        sizes = draw.normal(size).double() * draw.one((0.1, 1.0, 10.0))
        weights = torch.pow(10, sizes.clamp(-20, 20))
        weights = weights.masked_fill(draw.mask(size, draw.one((0.0, 0.3, 1.0))), 0)
        options["weights"] = -weights if draw.number() < 0.05 else weights
    if draw.number() < 0.2:
        options["ignore_index"] = draw.one((-100, 0, 1))
    if draw.number() < 0.1:
        options["label_priors"] = draw.one((0.0, 0.1, 1.0))
    return options


def ordinary(draw: Draw, labels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Draw a batch as it comes in training."""
    classes = draw.mask((64, *labels), 0.3)
    return draw.normal((64, *labels)) + 2 * classes, classes


def leads_back(chain: Chain, state: Any, draw: Draw) -> bool:
    """Tell whether ordinary batches bring a state back among them.

    A threshold that is tracked comes back to where the scores are, or at least a tenth of its way;
    with anchors that of the last, as others may be met by any threshold. The Lagrangian of a rule
    that goes by steps is of the size of one that met ordinary batches alone, or on its way down.
    """
    aims = dict.fromkeys(chain.settings.keys() - {"rule", "surrogate"}, 0.9)  # within reach
    settings, start, fresh, losses = {**chain.settings, **aims}, state, chain.start, []
    tracks = isinstance(chain.settings["rule"], gobj.ImplicitMultiplier)
    for _ in range(ORDINARY):
        batch = ordinary(draw, chain.labels)
        loss, state = chain.loss(*batch, state, **settings)
        losses.append(loss.item())
        if not tracks:
            loss, fresh = chain.loss(*batch, fresh, **settings)
    if tracks:
        first, last = (
            x.threshold[..., -1].abs() if hasattr(x, "anchors") else x.threshold.abs()
            for x in (start, state)
        )
        return math.isfinite(losses[-1]) and bool((last < torch.clamp(0.9 * first, min=10)).all())
    small = abs(losses[-1]) <= 10 + 10 * abs(loss.item())
    return small or abs(losses[-1]) < 0.9 * abs(losses[0])


def findings(seed: int) -> Iterator[str]:
    """Run one chain and yield what should not have happened."""
    draw = Draw(seed)
    chain = draw_chain(draw)
    state, words = chain.start, f"seed {seed}: {chain.name} {chain.settings}"
    for _ in range(CHAIN):
        shape = draw.one([shape for shape in SHAPES if shape[1:] == chain.labels])
        scores = draw_scores(draw, shape).requires_grad_()
        labels, options = draw_labels(draw, shape), draw_options(draw, shape)
        try:
            loss, state = chain.loss(scores, labels, state, **chain.settings, **options)
            torch.autograd.backward(loss.sum())
        except Exception as error:  # any at all is a finding
            yield f"{words} {shape} {options}: {type(error).__name__}: {error}"
            return
        broken = [
            name for name, leaf in gobj.state_dict(state).items() if not leaf.isfinite().all()
        ]
        if broken:
            yield f"{words} {shape} {options}: {', '.join(broken)} not finite"
            return
    if not leads_back(chain, state, draw):
        yield f"{words}: ordinary batches do not lead back from {state}"


def main(arguments: list[str] | None = None) -> int:
    """Print what should not have happened; return 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    chains, found = -(-options.batches // CHAIN), 0
    for seed in tqdm(range(options.seed, options.seed + chains), disable=None):
        for words in findings(seed):
            found += 1
            print(words, flush=True)
    print(f"{chains * CHAIN} batches, {found} findings")
    return int(found > 0)


if __name__ == "__main__":
    raise SystemExit(main())
