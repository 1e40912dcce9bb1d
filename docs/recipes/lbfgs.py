"""Train with L-BFGS: a step evaluates its closure several times, and the state moves once."""

import torch
from sklearn.datasets import make_classification
from torch import Tensor, nn

import gobj

torch.manual_seed(0)
table, classes = make_classification(10000, 10, n_informative=6, weights=[0.8], random_state=0)
x, y = torch.tensor(table).float(), torch.tensor(classes)
x, x_test, y, y_test = x[:6000], x[6000:], y[:6000], y[6000:]
model, problem, state = nn.Linear(10, 1), gobj.recall_at_precision(0.8), gobj.init_state()
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2, line_search_fn="strong_wolfe")
losses = []


def closure() -> Tensor:
    """Return the loss at a state that stays as it is while a step searches."""
    optimizer.zero_grad()
    loss = gobj.weigh(problem, model(x).squeeze(1), y, state)
    loss.backward()
    losses.append(loss.item())
    return loss


for _ in range(100):
    with torch.no_grad():
        sums = gobj.observe(problem, model(x).squeeze(1), y, state)
    state = gobj.update(problem, state, sums)  # once, before the search
    optimizer.step(closure)
flagged = model(x_test).squeeze(1) > state.threshold
precision, recall = y_test[flagged].float().mean(), flagged[y_test == 1].float().mean()
print(f"{len(losses)} evaluations, {state.statistics.steps:.0f} moves of the state")
print(f"held-out precision {precision:.3f}, recall {recall:.3f}")
