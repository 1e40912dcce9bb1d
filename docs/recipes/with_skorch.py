"""Search the settings of a skorch net whose `predict` uses the threshold that its loss learned."""

import torch
from numpy import ndarray
from sklearn.datasets import make_classification
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetBinaryClassifier

import gobj


class ThresholdNet(NeuralNetBinaryClassifier):
    """A binary classifier that calls a row positive where its criterion does."""

    def decision_function(self, inputs: ndarray) -> ndarray:
        return self.forward(inputs).numpy()

    def predict(self, inputs: ndarray) -> ndarray:
        return self.criterion_.predict(self.forward(inputs)).numpy().astype(int)

    def predict_proba(self, inputs: ndarray) -> ndarray:
        above = torch.sigmoid(self.forward(inputs) - self.criterion_.threshold)
        return torch.stack([1 - above, above], 1).numpy()


torch.manual_seed(0)
table, y = make_classification(4000, 10, n_informative=6, weights=[0.8], random_state=0)
X, X_test, y, y_test = train_test_split(table.astype("float32"), y, stratify=y, random_state=0)
net = ThresholdNet(torch.nn.Linear, module__in_features=10, module__out_features=1, verbose=0)
net.set_params(criterion=gobj.nn.RecallAtPrecisionLoss, criterion__target_precision=0.8)
net.set_params(optimizer=torch.optim.Adam, batch_size=512, max_epochs=30, train_split=None)
pipeline = make_pipeline(StandardScaler(), net)
settings = {"thresholdnet__lr": [0.003, 0.03]}
search = GridSearchCV(pipeline, settings, scoring="average_precision", cv=3).fit(X, y)
flagged = search.predict(X_test)
print(f"held-out precision {precision_score(y_test, flagged):.3f}", end=", ")
print(f"recall {recall_score(y_test, flagged):.3f}")
