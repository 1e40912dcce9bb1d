"""Binomial deviance of labelled embeddings."""

import torch
from torch import Tensor

from gobj._batch import is_known, keep_known, spread_weights, widen
from gobj._checks import Number, Reduction, refuse
from gobj.distributed import Group, check_reduction_of_pairs, number_of_ranks, rows_of_ranks
from gobj.losses._elements import drop_weightless, nonzero_or_one
from gobj.losses.pairs import binomial_deviance_of_pairs, pairs_from_labels
from gobj.stateless import StatelessLoss


def binomial_deviance_loss(
    embeddings: Tensor,
    labels: Tensor,
    *,
    alpha: float = 2.0,
    beta: float = 0.5,
    negative_cost: float = 1.0,
    weights: Number | None = None,
    ignore_index: int | None = None,
    process_group: Group = None,
    reduction: Reduction = "sum",
) -> Tensor:
    r"""Pull embeddings of one class together and push those of different classes apart.

    .. math:: \sum_{i \ne j} W_{ij} \log\bigl(1 + e^{-\alpha (S_{ij} - \beta) M_{ij}}\bigr)

    :math:`S` is the cosine similarity; mask :math:`M` and weights :math:`W` are those of
    :func:`gobj.pairs_from_labels`. So the loss is the mean over the positive pairs plus the mean
    over the negative ones, however many there are of each, and a kind without a pair adds 0.

    Args:
        embeddings: One row per example, any length, shape ``[n, d]``. A row of zeros has
            similarity 0 with everything and receives no gradient.
        labels: Class of each example, any dtype, shape ``[n]``.
        alpha: Steepness, above 0.
        beta: Similarity at which a pair costs log 2, usually in (-1, 1).
        negative_cost: Steepness of the negative pairs relative to the positive ones, at or above 0.
        weights: At or above 0, scalar or ``[n]``; 1 by default. An example with weight 0 is in no
            pair, whatever its embedding.
        ignore_index: Class of examples that are in no pair; None for no such class.
        process_group: Ranks whose batches are parts of one: in the mean over the ranks, loss and
            gradient are those of the joined batch. None for this process alone.
        reduction: ``"sum"``, the loss above; ``"mean"``, the same divided by the sum of ``W``; or
            ``"none"`` for the terms of the sum, ``[n, n]``.

    Returns:
        The loss, a scalar or ``[n, n]``, in float32 or wider.

    Raises:
        ValueError: If a shape, a dtype, a number or a name is not as above.

    Example:
        >>> import gobj, torch
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 2.0]])
        >>> labels = torch.tensor([7, 7, 3])
        >>> gobj.binomial_deviance_loss(embeddings, labels)
        tensor(0.9932)

        A pure function: gradients of many batches at once, or of each row's part of one batch.

        >>> batches = torch.stack([embeddings, embeddings.flip(0)])
        >>> per_batch = torch.func.grad(gobj.binomial_deviance_loss)
        >>> torch.func.vmap(per_batch, in_dims=(0, None))(batches, labels).shape
        torch.Size([2, 3, 2])
        >>> def of_each_row(embeddings):
        ...     return gobj.binomial_deviance_loss(embeddings, labels, reduction="none").sum(1)
        >>> torch.func.jacrev(of_each_row)(embeddings).shape
        torch.Size([3, 3, 2])

    References:
        Yi et al., `Deep Metric Learning for Practical Person Re-Identification
        <https://arxiv.org/abs/1407.4979>`_, 2014.
    """
    fine = isinstance(embeddings, Tensor) and embeddings.is_floating_point()
    if not (fine and embeddings.dim() == 2):
        refuse("embeddings", "be a floating-point tensor of shape [n, d]", embeddings)
    if not (isinstance(labels, Tensor) and labels.shape == embeddings.shape[:1]):
        refuse("labels", f"have shape {list(embeddings.shape[:1])}", labels)
    check_reduction_of_pairs(reduction, process_group)
    embeddings = widen(embeddings)
    mass = spread_weights(weights, embeddings.new_ones(labels.shape))
    if ignore_index is not None:
        mass = keep_known(mass, is_known(labels, ignore_index), embeddings.dtype)
    if mass is not None:
        embeddings = drop_weightless(embeddings, mass.unsqueeze(1))
    if number_of_ranks(process_group) > 1:  # a rank without weights has the tensors of the others
        mass = embeddings.new_ones(labels.shape) if mass is None else mass.expand(labels.shape)
        classes = labels.double() if labels.is_floating_point() else labels.long()
        embeddings, labels, mass = rows_of_ranks([embeddings, classes, mass], process_group)
    pairs = pairs_from_labels(
        labels, negative_cost=negative_cost, weights=mass, dtype=embeddings.dtype
    )
    return binomial_deviance_of_pairs(
        _cosine_similarity(embeddings),
        pairs.mask,
        alpha=alpha,
        beta=beta,
        weights=pairs.weights,
        reduction=reduction,
    )


def _cosine_similarity(embeddings: Tensor) -> Tensor:
    """Return the cosines between rows, where a row of zeros is orthogonal to every row."""
    largest = embeddings.detach().abs().amax(1, keepdim=True)
    # squares of scaled entries neither overflow nor all vanish
    scaled = embeddings / nonzero_or_one(largest)
    squared = scaled.square().sum(1, keepdim=True)
    unit = torch.where(largest != 0, scaled * nonzero_or_one(squared).rsqrt(), 0)
    if not torch.amp.is_autocast_available(unit.device.type):
        return unit @ unit.mT
    with torch.autocast(unit.device.type, enabled=False):
        return unit @ unit.mT


class BinomialDevianceLoss(StatelessLoss):
    """Pull embeddings of one class together and push those of different classes apart.

    The module of :func:`gobj.binomial_deviance_loss`.

    Args:
        alpha: Steepness, above 0.
        beta: Similarity at which a pair costs log 2, usually in (-1, 1).
        negative_cost: Steepness of the negative pairs relative to the positive ones, at or above 0.
        ignore_index: Class of examples that are in no pair; None for no such class.
        process_group: Ranks whose batches are parts of one while training: ``"world"`` for all
            ranks where ``torch.distributed`` runs several, None for this process alone.
        reduction: ``"sum"``, ``"mean"`` or ``"none"``.

    Example:
        >>> import gobj, torch
        >>> criterion = gobj.nn.BinomialDevianceLoss()
        >>> embeddings = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 2.0]])
        >>> criterion(embeddings, torch.tensor([7, 7, 3]))
        tensor(0.9932)
    """

    function = staticmethod(binomial_deviance_loss)
