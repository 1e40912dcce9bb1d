"""The steps of the main job: read the question, train, publish."""

from argparse import Namespace
from typing import NamedTuple

from tqdm import tqdm  # type: ignore[import-untyped]

from gobj.study.comparison import METHODS, Outcome, compare
from gobj.study.findings import find
from gobj.study.folder import FILES, check_folder, replaced
from gobj.study.goals import Goal, make_goal
from gobj.study.pictures import draw
from gobj.study.refusal import require
from gobj.study.report import describe, summarise, to_json
from gobj.study.splits import split
from gobj.study.tables import Table, default_table, prepare, read_table
from gobj.study.training import MODELS


class Question(NamedTuple):
    """What to find out, about which table of which name."""

    goal: Goal
    name: str
    table: Table


def read_question(options: Namespace) -> Question:
    """Check the options and read the table.

    Raises:
        ValueError: If an option, the folder for the report, or the table is not as it must be.
    """
    goal = make_goal(options.objective, options.target)
    require(options.seeds >= 2, "--seeds", "be 2 or more, for intervals", options.seeds)
    require(options.steps >= 1, "--steps", "be 1 or more", options.steps)
    check_folder(options.out)
    if options.data is None:
        name, frame, label = "mlc_churn", default_table(), options.label or "churn"
    else:
        name, frame, label = str(options.data), read_table(options.data), options.label
        require(label is not None, "--label", "name the column to predict", "none")
    table = prepare(frame, label, positive=options.positive, weights=options.weights)
    return Question(goal, name, table)


def train_all(question: Question, options: Namespace) -> list[Outcome]:
    """Train all methods, with a progress bar where someone can see it."""
    goal, name, table = question
    model = MODELS[options.model]
    print(describe(name, table))
    print(
        f"{options.model} models, {options.seeds} seeds, {options.steps} steps of up to 512 rows\n"
    )
    total = len(METHODS) * len(model.settings) * options.steps
    with tqdm(total=total, desc="training", unit=" steps", leave=False, disable=None) as bar:
        return compare(goal, split(table, options.seeds), model, options.steps, bar.update)


def publish(question: Question, outcomes: list[Outcome], options: Namespace) -> None:
    """Print the findings and write the report.

    Raises:
        OSError: If the report cannot be written; then there is none.
    """
    findings = find(question.goal, outcomes)
    print(summarise(findings))
    given = {key: str(value) for key, value in vars(options).items() if value is not None}
    with replaced(options.out) as folder:
        (folder / FILES[0]).write_text(to_json(question.name, question.table, findings, given))
        draw(findings, folder / FILES[1])
    print(f"Written: {' and '.join(str(options.out / file) for file in FILES)}")
