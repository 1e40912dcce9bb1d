"""Tensors that are kept: made once, and never ones that a mode has marked."""

import pytest
import torch
from torch import Tensor
from torch.func import grad, vmap

from gobj._kept import keeps, kept

LIKE = torch.zeros(2)


def numbered(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.arange(count, dtype=dtype, device=device)


def test_what_is_kept_is_made_once() -> None:
    assert kept(numbered, 3, like=LIKE) is kept(numbered, 3, like=torch.ones(5))


@pytest.mark.parametrize("change", [(4, LIKE), (3, LIKE.double()), (3, LIKE.to("meta"))])
def test_constants_dtypes_and_devices_are_told_apart(change: tuple[int, Tensor]) -> None:
    count, like = change
    made = kept(numbered, count, like=like)
    assert made.shape == (count,)
    assert (made.dtype, made.device) == (like.dtype, like.device)


def test_nothing_is_kept_in_inference_mode() -> None:
    with torch.inference_mode():
        assert torch.equal(kept(numbered, 7, like=LIKE), torch.arange(7.0))
    assert not kept(numbered, 7, like=LIKE).is_inference()


def test_nothing_is_kept_in_a_transform() -> None:
    kept_within = []

    def total(x: Tensor) -> Tensor:
        kept_within.append(keeps(x))
        return (x * kept(numbered, 9, like=x)).sum()

    expected = torch.arange(9.0)
    assert torch.equal(grad(total)(torch.ones(9)), expected)
    assert torch.equal(vmap(total)(torch.ones(2, 9)), expected.sum().expand(2))
    assert kept_within == [False, False]
    assert keeps(LIKE)


def test_nothing_is_kept_by_the_compiler() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        lambda x: x * kept(numbered, 11, like=x), fullgraph=True, backend="aot_eager"
    )
    assert torch.equal(compiled(torch.ones(11)), torch.arange(11.0))
    assert type(kept(numbered, 11, like=LIKE)) is Tensor
