"""The audit of pictures: test tiles that look like tiles learned from, whatever their ids.

    tasks, studies, training folds -> picture_records -> records as of audit_tasks

Ids tell one patient under one name only; data/duplicates.py compares the tiles. Only
folds of studies that are given can be compared: a model file has no pictures.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from pathjax.data.duplicates import near_pairs, picture_hashes
from pathjax.data.study import Study
from pathjax.evals.audit import Record, training_fold
from pathjax.evals.tasks import Task

SHOWN = 20


class Pictures:
    """Hashes of studies' tiles, each read once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, study: Study, rows: Int[np.ndarray, "n"]):
        """Hashes, eight of each, and row numbers of those of the tiles with structure."""
        if str(study.root) not in self._known:
            found = picture_hashes(study, np.arange(len(study)))
            self._known[str(study.root)] = found
        hashes, structured = self._known[str(study.root)]
        rows = rows[structured[rows]]
        return hashes[:, rows], rows

    def alike(self, one: Study, learned, other: Study, tested) -> list[str]:
        """`LEARNED TILE ~ TEST TILE` of each pair."""
        (left, left_rows), (right, right_rows) = (
            self.of(one, learned),
            self.of(other, tested),
        )
        # Learned tiles in all orientations, tested ones as they are.
        each = [near_pairs(turn, right[0]) for turn in left]
        pairs = np.unique(np.concatenate(each), axis=0)
        names = one.tiles["tile_id"].to_numpy(), other.tiles["tile_id"].to_numpy()
        return [
            f"{names[0][left_rows[a]]} ~ {names[1][right_rows[b]]}" for a, b in pairs
        ]


def picture_records(
    tasks: Sequence[Task], studies: Sequence[Study], trains: Sequence[str] = ()
) -> list[Record]:
    """A record for each task's own folds and for each fold trained on.

    Args:
      tasks, studies, trains: As `audit_tasks` takes and checks them.

    Returns:
      Records with `pictures`, the pairs; `beyond` has the first SHOWN.
    """
    by_name = {study.name: study for study in studies}
    pictures, records = Pictures(), []
    for task in tasks:
        study = by_name[task.study]
        own = []
        for roles in task.fits(study):
            rows = {
                role: np.concatenate([study.fold_tiles(task.split, f) for f in folds])
                for role, folds in roles.items()
            }
            tested = rows.pop("test")
            if rows:
                learned = np.concatenate(list(rows.values()))
                own += pictures.alike(study, learned, study, tested)
        against = {"its own fit fold": own}
        for text in trains:
            other, split, fold = training_fold(text, by_name)
            learned = other.fold_tiles(split, fold)
            against[text] = pictures.alike(
                other, learned, study, task.test_tiles(study)
            )
        records += [
            {
                "task": task.name,
                "against": f"pictures of {name}",
                "status": "overlap" if found else "clean",
                "stages": [],
                **{key: [] for key in ("patients", "barcodes", "slides", "sites")},
                "pictures": found,
                "beyond": found[:SHOWN],
            }
            for name, found in against.items()
        ]
    return records
