"""The model that is taken away: columns in, a score and a decision for each label out."""

import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import safetensors.torch
import skops.io  # type: ignore[import-untyped]
import torch
from torch import Tensor

from gobj.study.baselines import decide
from gobj.study.columns import Array, Column, Schema, encode
from gobj.study.refusal import require
from gobj.study.splits import Scaling, scale
from gobj.study.training import score

ABOUT, TENSORS = "model.json", "model.safetensors"
FORMAT = 1  # of the JSON file
# What scikit-learn's booster and LightGBM's are made of, and what skops does not know by itself:
# none of them runs code of the file.
TRUSTED = (
    "collections.OrderedDict",
    "lightgbm.basic.Booster",
    "lightgbm.sklearn.LGBMClassifier",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)


class Decision(NamedTuple):
    """How a label is decided.

    Attributes:
        label: Column to predict.
        positive: Its value that counts as positive.
        condition: What the threshold is to meet, such as ``precision >= 0.9``.
        threshold: A row is flagged where its score is above it.
        certified: Whether the threshold is the one that is certain.
        fitted_threshold: The best that meets the condition on validation rows.
        confidence: Of the certificate.
    """

    label: str
    positive: str
    condition: str
    threshold: float
    certified: bool
    fitted_threshold: float
    confidence: float


class Model(NamedTuple):
    """A model with its preprocessing.

    Attributes:
        method: Name of the method that fitted it.
        schema: What features are made of.
        scaling: How they are scaled.
        raw: Whether the estimators take features as they are.
        layers: Of a network that gives all labels; empty for estimators.
        estimators: Of scikit-learn or LightGBM, one for each label; empty for a network.
        decisions: One for each label; none before thresholds are chosen.
    """

    method: str
    schema: Schema
    scaling: Scaling
    raw: bool
    layers: list[Tensor]
    estimators: list[Any]
    decisions: list[Decision]

    def score_features(self, features: Tensor) -> Array:
        """Return scores ``[n, labels]`` of features ``[n, columns]``, NaN where one is missing.

        They are computed in float64 and rounded to float32: what a row gets does not depend on the
        rows around it.
        """
        if self.layers:
            layers = [layer.double().unsqueeze(0) for layer in self.layers]
            scores = score(layers, scale(features, self.scaling).unsqueeze(0)).numpy()
        else:
            known = (features if self.raw else scale(features, self.scaling)).numpy()
            scores = np.stack([decide(one, known) for one in self.estimators], 1)
        return scores.astype(np.float32)

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the score and the decision of each row, for each label.

        Raises:
            ValueError: If a column is missing.
        """
        for name, _ in self.schema.columns:
            require(name in frame, "DATA", "have the columns of the model", f"none named {name!r}")
        scores = self.score_features(torch.from_numpy(encode(frame, self.schema)))
        columns: dict[str, Any] = {}
        for index, decision in enumerate(self.decisions):
            columns[f"{decision.label}_score"] = scores[:, index]
            columns[f"{decision.label}_flag"] = scores[:, index] > np.float32(decision.threshold)
        return pd.DataFrame(columns, index=frame.index)


def save_model(model: Model, folder: Path, about: dict[str, Any]) -> None:
    """Write a model into a folder: tensors, estimators if any, and a JSON of all else."""
    tensors = {f"scaling.{name}": value for name, value in model.scaling._asdict().items()}
    layers = {f"layers.{index}": layer for index, layer in enumerate(model.layers)}
    every = {name: value.contiguous().clone() for name, value in (tensors | layers).items()}
    # not by its own function, which makes a file that only its owner can read
    (folder / TENSORS).write_bytes(safetensors.torch.save(every))
    files = [f"model-{index}.skops" for index in range(len(model.estimators))]
    for file, estimator in zip(files, model.estimators, strict=True):
        skops.io.dump(estimator, folder / file)
    content = {
        "format": FORMAT,
        **about,
        "method": model.method,
        "labels": [decision._asdict() for decision in model.decisions],
        "columns": [column._asdict() for column in model.schema.columns],
        "left_out": model.schema.left_out,
        "features": model.schema.features,
        "tensors": TENSORS,
        "estimators": files,
        "raw_features": model.raw,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")


def load_model(folder: Path) -> Model:
    """Read a model from a folder; nothing of it runs code.

    Raises:
        ValueError: If there is no model, or it is not one that this version wrote.
    """
    path = folder / ABOUT
    require(path.is_file(), "FOLDER", f"hold a {ABOUT}, as written by fit", repr(str(folder)))
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        require(about["format"] == FORMAT, "FOLDER", f"have format {FORMAT}", about["format"])
        tensors = safetensors.torch.load_file(folder / TENSORS)
        layers = [
            tensors[f"layers.{index}"] for index in range(len(tensors) - len(Scaling._fields))
        ]
        return Model(
            about["method"],
            Schema([Column(**column) for column in about["columns"]], about["left_out"]),
            Scaling(*(tensors[f"scaling.{name}"] for name in Scaling._fields)),
            about["raw_features"],
            layers,
            [_load_estimator(folder / Path(file).name) for file in about["estimators"]],
            [Decision(**decision) for decision in about["labels"]],
        )
    except (
        json.JSONDecodeError,
        zipfile.BadZipFile,
        KeyError,
        OSError,
        TypeError,
        safetensors.SafetensorError,
    ) as error:
        raise ValueError(f"gobj: `FOLDER` must hold a whole model; got {error!r}.") from error


def _load_estimator(path: Path) -> Any:
    """Read an estimator that is made of nothing but what is known."""
    unknown = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
    require(not unknown, "FOLDER", "hold a model of known parts", sorted(unknown))
    return skops.io.load(path, trusted=list(TRUSTED))
