"""The command line of the main job."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from gobj.metrics._reading import OBJECTIVES

DESCRIPTION = """\
Answer whether training for an objective would help on a table: train BCE, class-weighted BCE and
the objective over several splits of the rows, side by side, and compare them on test rows.
Missing numbers become the median; text is one column per value (left out with more than 30);
features are standardised on the training rows and clipped at five standard deviations. Half of
the rows train, 15 % choose the optimiser of each method, the rest is the test."""


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"gobj: {message.removeprefix('gobj: ')}\n")


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog="python -m gobj", description=DESCRIPTION)
    names = [objective.name for objective in OBJECTIVES]
    default, out = "; default: %(default)s", Path("gobj-report")
    positive = "its positive value; default: 1, true, yes or the rarer of two"
    add = parser.add_argument
    add("data", metavar="DATA", nargs="?", type=Path, help="CSV or Parquet; default: mlc_churn")
    add("--label", metavar="COLUMN", help="column to predict; default for mlc_churn: churn")
    add("--positive", metavar="VALUE", help=positive)
    add("--weights", metavar="COLUMN", help="case weights, in training and in all metrics")
    add("--objective", default=names[0], help=f"{', '.join(names)}{default}")
    target = "of the constrained rate, in (0, 1); default: 0.9, or 0.1 of an FPR or a budget"
    add("--target", type=float, help=target)
    add("--model", choices=("linear", "mlp"), default="linear", help=default[2:])
    add("--seeds", type=int, default=10, help=f"number of splits{default}")
    add("--steps", type=int, default=500, help=f"batches of 512 rows{default}")
    add("--out", metavar="DIR", type=Path, default=out, help=f"for the report{default}")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study; exit with code 2 where it cannot."""
    torch.set_num_threads(1)  # the steps are too small to share
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        from gobj.study import command, findings  # noqa: PLC0415, needs an extra

        question = command.read_question(options)
    except ModuleNotFoundError as error:
        parser.error(f"needs {error.name}: pip install 'gobj[study]'")
    except ValueError as error:
        parser.error(str(error))
    outcomes = command.train_all(question, options)
    reaches = [outcome.train_reach for outcome in outcomes]
    if not findings.is_reached(question.goal, reaches):
        missed = findings.explain_miss(question.goal, reaches)
        parser.error(
            f"`--target` must be met on training rows; got {question.goal.target:g}: {missed}."
        )
    try:
        command.publish(question, outcomes, options)
    except OSError as error:
        parser.error(f"the report was not written: {error}")
