"""Train an ensemble in one vmap, each member with a target and a state of its own."""

import copy

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

import gobj

x = torch.randn(10000, 10, generator=torch.manual_seed(0))
y = x[:, :3].sum(1) + torch.randn(10000) > 1.7
targets = torch.tensor([0.6, 0.7, 0.8, 0.9])
models = [nn.Sequential(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 1)) for _ in targets]
stacks = stack_module_state(models)  # parameters and buffers, along a first axis of members
skeleton = copy.deepcopy(models[0]).to("meta")  # the structure alone


def score(parameters: dict, buffers: dict, rows: Tensor) -> Tensor:
    """Return the logits of one member."""
    return functional_call(skeleton, (parameters, buffers), (x[rows],)).squeeze(1)


def step(rows: Tensor, target: Tensor, state: gobj.DualState, *stacks: dict) -> tuple:
    """Return the loss of one member, and its next state."""
    logits = score(*stacks, rows)
    return gobj.recall_at_precision_loss(logits, y[rows], state, target_precision=target)


state = gobj.init_state((len(models),))  # a state for each member, along a first axis too
optimizer = torch.optim.Adam(stacks[0].values(), lr=0.01)
for rows in torch.randint(6000, (400, 512)):  # the other rows are held out
    losses, state = vmap(step, in_dims=(None, 0, 0, 0, 0))(rows, targets, state, *stacks)
    optimizer.zero_grad()
    losses.sum().backward()  # a member's gradient is that of its own loss
    optimizer.step()
logits = vmap(score, in_dims=(0, 0, None))(*stacks, torch.arange(6000, 10000))
flagged = logits > state.threshold.unsqueeze(1)
precision = (flagged & y[6000:]).sum(1) / flagged.sum(1)
print("held-out precision:", [round(value, 3) for value in precision.tolist()])
