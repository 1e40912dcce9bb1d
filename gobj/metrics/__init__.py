"""Streaming ROC and precision-recall curves with explicit state, exact or in constant memory.

A table that is larger than memory is read in batches; on a grid the curve has constant size:

    >>> import tempfile, numpy, pyarrow, torch
    >>> from pyarrow import dataset
    >>> from gobj.metrics import curve_compute, curve_init, curve_merge, curve_update
    >>> folder, generator = tempfile.TemporaryDirectory(), numpy.random.default_rng(0)
    >>> labels = generator.random(100_000) < 0.02
    >>> logits = generator.normal(3.0 * labels - 4.0)
    >>> table = pyarrow.table({"logit": logits, "label": labels})
    >>> dataset.write_dataset(table, folder.name, format="parquet", max_rows_per_file=25_000,
    ...                       max_rows_per_group=25_000)
    >>> def read(files):
    ...     state = curve_init(cells=4096)
    ...     columns = ["logit", "label"]
    ...     for batch in dataset.dataset(files).to_batches(batch_size=8192, columns=columns):
    ...         logit, label = (batch[name].to_numpy(zero_copy_only=False) for name in columns)
    ...         values = torch.tensor(logit), torch.tensor(label)
    ...         state = curve_update(state, *values)
    ...     return state
    >>> files = sorted(dataset.dataset(folder.name).files)
    >>> found = curve_compute(read(files), target_precision=0.5)
    >>> found["positives"].item(), round(found["recall_at_precision"].item(), 2)
    (1947.0, 0.8)

The threshold to deploy is ``found["recall_at_precision_threshold"]``. Several readers each take
some of the files, and merge what they have; over ranks ``curve_merge(state, process_group=group)``
gives the merged curve to each.

    >>> merged = curve_merge(read(files[:1]), read(files[1:]))
    >>> both = curve_compute(merged, target_precision=0.5)
    >>> torch.equal(both["recall_at_precision"], found["recall_at_precision"])
    True
    >>> folder.cleanup()
"""

from gobj.metrics._buffer import ScoreBuffer
from gobj.metrics._curve import Curve
from gobj.metrics._grid import ScoreGrid
from gobj.metrics._reading import curve_compute, curve_points
from gobj.metrics._streaming import CurveState, curve_init, curve_merge, curve_update

__all__ = [
    "Curve",
    "CurveState",
    "ScoreBuffer",
    "ScoreGrid",
    "curve_compute",
    "curve_init",
    "curve_merge",
    "curve_points",
    "curve_update",
]
