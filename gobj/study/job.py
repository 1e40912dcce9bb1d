"""The command line of the main job."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from gobj.metrics._reading import OBJECTIVES

DESCRIPTION = """\
Fit a table, or score one by what was fitted. Without arguments: fit an example."""
FIT = """\
Answer whether training for an objective helps on a table, and leave a model to use. Logistic
regression, boosting, and linear models and networks with BCE, class-weighted BCE and the objective
learn from the same splits; each gets its threshold from validation rows and is compared on test
rows. The best is fitted once more and its threshold certified on rows kept apart. Missing numbers
become the median; text is one feature per value (left out with more than 30)."""
SCORE = """\
Apply the model of a folder to a table of any size; write its rows with a score and a flag for each
label."""
OUT = Path("gobj-report")


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"gobj: {message.removeprefix('gobj: ')}\n")


def make_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog="python -m gobj", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="task", metavar="fit | score", parser_class=Parser)
    fit = commands.add_parser("fit", help="compare, certify, take away", description=FIT)
    _add_fit(fit.add_argument)
    score = commands.add_parser("score", help="apply a model", description=SCORE)
    add = score.add_argument
    add("folder", metavar="FOLDER", type=Path, help="that fit has written")
    add("data", metavar="DATA", type=Path, help="CSV or Parquet, or a folder of Parquet files")
    add("--out", metavar="FILE", type=Path, required=True, help="CSV or Parquet file to write")
    _add_format(add)
    return parser


def _add_fit(add: Any) -> None:
    """Add what fit can be asked."""
    default = "; default: %(default)s"
    names = [objective.name for objective in OBJECTIVES]
    table = "CSV or Parquet, or a folder of Parquet files; default: mlc_churn"
    add("data", metavar="DATA", nargs="?", type=Path, help=table)
    add("--label", metavar="COLUMN", help="to predict, or several, with commas between")
    add("--objective", default=names[0], help=f"{', '.join(names)}{default}")
    add("--target", metavar="NUMBER", help="of the constrained rate; default: one within reach")
    positive = "of the label; default: 1, true or yes, or the rarer of two"
    add("--positive", metavar="VALUE", help=positive)
    add("--weights", metavar="COLUMN", help="case weights, in training and in all rates")
    add("--group", metavar="COLUMN", help="whose rows of one value stay in one part of a split")
    add("--time", metavar="COLUMN", help="by which later rows test what earlier ones trained")
    add("--drop-missing-labels", action="store_true", help="leave rows without a label out")
    add("--hidden", type=int, default=32, help=f"width of the networks{default}")
    add("--seeds", type=int, default=10, help=f"number of splits{default}")
    add("--steps", type=int, default=500, help=f"batches of linear models and networks{default}")
    add("--confidence", type=float, default=0.95, help=f"of the certificate{default}")
    add("--max-rows", type=int, default=200_000, help=f"a sample of larger tables{default}")
    methods = "all, or trained for those alone that learn by gradients"
    add("--methods", default="all", help=f"{methods}{default}")
    add("--jobs", type=int, help="threads of scikit-learn's methods; default: all cores")
    add("--out", metavar="FOLDER", type=Path, default=OUT, help=f"to write{default}")
    _add_format(add)


def _add_format(add: Any) -> None:
    """Add how a CSV file is read."""
    add("--sep", default=",", help="between the columns of a CSV file; default: a comma")
    add("--encoding", default="utf-8", help="of a CSV file; default: %(default)s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; exit with code 2 where it cannot, and with 130 where it is interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    options = parser.parse_args(given or ["fit"])
    if options.task is None:
        parser.error("name a command, fit or score.")
    try:
        _run(options, given)
    except ModuleNotFoundError as error:
        parser.error(f"needs {error.name}: pip install 'gobj[study]'")
    except ValueError as error:
        if not str(error).startswith("gobj: "):
            raise
        parser.error(str(error))
    except OSError as error:
        parser.error(f"nothing was written: {error}")
    except KeyboardInterrupt:
        parser.exit(130, "gobj: interrupted, nothing was written\n")


def _run(given: argparse.Namespace, command: list[str]) -> None:
    """Do what a command asks."""
    from gobj.study import asking  # noqa: PLC0415, needs an extra

    words = ["python", "-m", "gobj", *command]
    asking.score(given) if given.task == "score" else asking.fit(given, words)
