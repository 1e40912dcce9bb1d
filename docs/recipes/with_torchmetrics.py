"""Read the same numbers from torchmetrics and from gobj.metrics, over the same batches."""

import torch
from sklearn.datasets import make_classification
from torch import nn
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    BinaryAUROC,
    BinaryAveragePrecision,
    BinaryRecallAtFixedPrecision,
)

import gobj
from gobj.metrics import curve_compute, curve_init, curve_update

torch.manual_seed(0)
table, classes = make_classification(10000, 10, n_informative=6, weights=[0.8], random_state=0)
x, y = torch.tensor(table).float(), torch.tensor(classes)
model, criterion = nn.Linear(10, 1), gobj.nn.RecallAtPrecisionLoss(0.8)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
for batch in torch.randint(6000, (300, 512)):
    optimizer.zero_grad()
    criterion(model(x[batch]).squeeze(1), y[batch]).backward()
    optimizer.step()
at = BinaryRecallAtFixedPrecision(min_precision=0.8)
areas = {"roc_auc": BinaryAUROC(), "average_precision": BinaryAveragePrecision()}
collection, curve = MetricCollection({"at": at, **areas}), curve_init()
with torch.no_grad():
    for rows in torch.arange(6000, 10000).split(512):  # rows that training has not seen
        logits, labels = model(x[rows]).squeeze(1), y[rows]
        collection.update(logits.sigmoid(), labels)
        curve = curve_update(curve, logits, labels)
theirs, ours = collection.compute(), curve_compute(curve, target_precision=0.8)
print(f"torchmetrics: recall {theirs['at'][0]:.4f} at probability {theirs['at'][1]:.4f}")
recall, threshold = ours["recall_at_precision"], ours["recall_at_precision_threshold"]
print(f"gobj.metrics: recall {recall:.4f} above logit {threshold:.4f}")
