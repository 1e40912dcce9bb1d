"""Train in float16 with scaled and clipped gradients; a step that is skipped moves no state."""

import torch
from sklearn.datasets import make_classification
from torch import nn

import gobj

device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
table, classes = make_classification(10000, 10, n_informative=6, weights=[0.8], random_state=0)
features = torch.tensor(table, dtype=torch.float32, device=device)
labels = torch.tensor(classes, device=device)
model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scaler = torch.amp.GradScaler(device, init_scale=2.0**24)  # too large at first: steps are skipped
state, skipped = gobj.init_state(device=device), 0
for _ in range(200):
    rows = torch.randint(6000, (512,), device=device)  # the other rows are held out
    with torch.autocast(device, dtype=torch.float16):
        logits = model(features[rows]).squeeze(1)
    loss, after = gobj.recall_at_precision_loss(logits, labels[rows], state, target_precision=0.8)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)  # before clipping: the limit is on gradients in their true size
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    if scaler.get_scale() < scale:
        skipped += 1
    else:
        state = after
with torch.no_grad():
    flagged = model(features[6000:]).squeeze(1) > state.threshold
hits = (flagged & (labels[6000:] == 1)).sum()
print(f"{skipped} steps skipped, held-out precision {hits / flagged.sum():.3f}", end=", ")
print(f"recall {hits / labels[6000:].sum():.3f}")
