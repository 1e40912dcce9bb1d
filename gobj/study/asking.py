"""Options of the command line as those of the functions behind it."""

from argparse import Namespace

from gobj.study.command import fit_and_tell
from gobj.study.options import Options
from gobj.study.scoring import score_file


def fit(given: Namespace, command: list[str]) -> None:
    """Fit a table, or the example where none is named."""
    label = given.label or ("churn" if given.data is None else None)
    options = Options(
        labels=tuple(label.split(",")) if label else (),
        objective=given.objective,
        targets=_numbers(given.target),
        positive=given.positive,
        weights=given.weights,
        group=given.group,
        time=given.time,
        drop_missing_labels=given.drop_missing_labels,
        hidden=given.hidden,
        seeds=given.seeds,
        steps=given.steps,
        confidence=given.confidence,
        max_rows=given.max_rows,
        methods=given.methods,
        **({} if given.jobs is None else {"jobs": given.jobs}),
    )
    fit_and_tell(given.data, options, given.out, given.sep, given.encoding, command)


def score(given: Namespace) -> None:
    """Score a table, and say what was done."""
    done = score_file(given.folder, given.data, given.out, sep=given.sep, encoding=given.encoding)
    flagged = ", ".join(f"{count:,} flagged as {label}" for label, count in done["flagged"].items())
    print(f"{done['rows']:,} rows, {flagged}. Written: {given.out}")
    if done["unknown"]:
        listed = ", ".join(f"{count:,} in {name}" for name, count in done["unknown"].items())
        print(f"Values that the model does not know, taken for missing: {listed}.")


def _numbers(text: str | None) -> tuple[float, ...]:
    """Read numbers with commas between."""
    try:
        return () if text is None else tuple(map(float, text.split(",")))
    except ValueError:
        raise ValueError(f"gobj: `--target` must be a number; got {text!r}.") from None
