"""What can be asked of the main job, from the command line or from Python."""

import os
from dataclasses import asdict, dataclass
from typing import Any

from gobj.study.refusal import require


@dataclass(frozen=True)
class Options:
    """The options of a job; those of the command line have the same names.

    Attributes:
        labels: Columns to predict; several are trained side by side on one trunk.
        objective: Which rate is best while which is constrained.
        targets: Of the constrained rate, one for all labels or one each; none to choose them.
        positive: Value of the labels that counts as positive.
        weights: Column of case weights.
        group: Column whose rows of one value are never in two parts of a split.
        time: Column by which the later rows test what the earlier ones trained.
        drop_missing_labels: Whether to leave rows out whose label is missing.
        hidden: Width of the hidden layer of the networks.
        seeds: Number of splits.
        steps: Number of batches that linear models and networks learn from.
        confidence: Of the certificate.
        max_rows: Most rows to use; of a larger table they are drawn at random.
        methods: ``"all"``, or ``"trained"`` for those alone that learn by gradients.
        jobs: Threads that fit scikit-learn's models.
    """

    labels: tuple[str, ...]
    objective: str = "recall_at_precision"
    targets: tuple[float, ...] = ()
    positive: str | None = None
    weights: str | None = None
    group: str | None = None
    time: str | None = None
    drop_missing_labels: bool = False
    hidden: int = 32
    seeds: int = 10
    steps: int = 500
    confidence: float = 0.95
    max_rows: int = 200_000
    methods: str = "all"
    jobs: int = os.cpu_count() or 1

    @property
    def named_columns(self) -> list[tuple[str, str]]:
        """Return the columns that are no features, each with the option that names it."""
        named = {"--weights": self.weights, "--group": self.group, "--time": self.time}
        return [
            *(("--label", name) for name in self.labels),
            *((option, name) for option, name in named.items() if name is not None),
        ]

    def check(self) -> None:
        """Require what does not depend on the table.

        Raises:
            ValueError: If an option is not as it must be.
        """
        require(bool(self.labels), "--label", "name the column to predict", "none")
        names = [name for _, name in self.named_columns]
        twice = [name for name in names if names.count(name) > 1]
        require(not twice, "--label", "name each column once, and none as anything else", twice)
        require(self.seeds >= 2, "--seeds", "be 2 or more, for intervals", self.seeds)
        both = f"{self.group!r} beside --time {self.time!r}"
        alone = self.group is None or self.time is None
        require(alone, "--group", "be given alone, or --time alone", both)
        for option in ("steps", "hidden", "jobs"):
            value = getattr(self, option)
            require(value >= 1, f"--{option}", "be 1 or more", value)
        known = ("all", "trained")
        require(self.methods in known, "--methods", f"be one of {known}", repr(self.methods))
        require(self.max_rows >= 100, "--max-rows", "be 100 or more", self.max_rows)
        fine = 0 < self.confidence < 1
        require(fine, "--confidence", "be in (0, 1)", self.confidence)
        matching = len(self.targets) in (0, 1, len(self.labels))
        one_each = f"be one number, or one for each of {len(self.labels)} labels"
        require(matching, "--target", one_each, ",".join(map(str, self.targets)))

    def as_dict(self) -> dict[str, Any]:
        """Return the options by name."""
        return asdict(self)
