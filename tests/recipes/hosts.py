"""What tests of recipes for Lightning share: its warnings, and a trainer that writes nothing."""

import logging
from typing import Any

import lightning
import pytest

LIGHTNING = [
    pytest.mark.filterwarnings(f"ignore:{reason}")
    for reason in (
        "Starting from v1.9.0, `tensorboardX`",  # says which logger it takes
        ".*LeafSpec.* is deprecated",  # in Lightning itself
        "The number of training batches",  # is below its logging interval
        "The dirpath has changed",  # a resumed run has a folder of its own
        ".*does not have many workers",  # only where there are more than two cores
    )
]
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


def quiet_trainer(epochs: int, **options: Any) -> lightning.Trainer:
    """Make a trainer that shows and writes nothing."""
    shown = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    silence = dict.fromkeys(shown, False)
    return lightning.Trainer(max_epochs=epochs, accelerator="cpu", **silence | options)
