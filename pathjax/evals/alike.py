"""The audit of pictures: what is tested looks like what was learned from, whatever its id.

    tasks, studies, training folds -> picture_records -> records as of audit_tasks

Ids tell one patient under one name only; data/duplicates.py compares the tiles, and
data/thumbnails.py the slides, which may have been tiled anew. Only folds of studies that
are given can be compared: a model file has no pictures.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from pathjax.data.duplicates import near_pairs, picture_hashes, shrunk
from pathjax.data.study import Study
from pathjax.data.thumbnails import FEWEST, near_looks, slide_looks
from pathjax.evals.audit import Record, training_fold
from pathjax.evals.tasks import Task

SHOWN = 20
Found = dict[str, list[str]]


class Pictures:
    """What a study's tiles and slides look like; each tile is read once."""

    def __init__(self, study: Study):
        grey = shrunk(study)
        self.study = study
        self.hashes, self.structured = picture_hashes(grey)
        self.slides = slide_looks(study, grey)

    @functools.cached_property
    def tile_ids(self) -> np.ndarray:
        return self.study.tiles["tile_id"].to_numpy()

    def slides_of(
        self, rows: Int[np.ndarray, "n"], role: str
    ) -> tuple[Int[np.ndarray, "s"], list[str]]:
        """Which of `slides.looks` some tiles have; says how many slides have none."""
        inside = np.unique(self.slides.of_tile[rows])
        known = np.flatnonzero(np.isin(self.slides.slides, inside))
        without = len(inside) - len(known)
        text = (
            f"{without} of {len(inside)} {role} slides of {self.study.name} not compared "
            f"as a whole: fewer than {FEWEST} tiles with positions"
        )
        return known, [text] if without else []

    def alike(self, learned, other: "Pictures", tested) -> Found:
        """`LEARNED ~ TESTED` of each pair of tiles and of slides, by row numbers.

        One slide in both folds is for `audit_tasks` to tell.
        """
        # What is learned in all orientations, what is tested as it is.
        left = learned[self.structured[learned]]
        right = tested[other.structured[tested]]
        each = [near_pairs(turn[left], other.hashes[0, right]) for turn in self.hashes]
        tiles = np.unique(np.concatenate(each), axis=0)
        first, missing = self.slides_of(learned, "learned")
        second, more = other.slides_of(tested, "tested")
        pairs = near_looks(self.slides.looks[:, first], other.slides.looks[0, second])
        names, others = (
            [one.names[slide] for slide in one.slides[known]]
            for one, known in ((self.slides, first), (other.slides, second))
        )
        itself = self.study.root == other.study.root
        return {
            "pictures": [
                f"{self.tile_ids[left[a]]} ~ {other.tile_ids[right[b]]}"
                for a, b in tiles
            ],
            "slide_pictures": [
                f"{names[a]} ~ {others[b]}"
                for a, b in pairs
                if not (itself and names[a] == others[b])
            ],
            "not_compared": [*missing, *more],
        }


def _joined(parts: Sequence[Found]) -> Found:
    return {
        key: list(dict.fromkeys(text for part in parts for text in part[key]))
        for key in ("pictures", "slide_pictures", "not_compared")
    }


def picture_records(
    tasks: Sequence[Task], studies: Sequence[Study], trains: Sequence[str] = ()
) -> list[Record]:
    """A record for each task's own folds and for each fold trained on.

    Args:
      tasks, studies, trains: As `audit_tasks` takes and checks them.

    Returns:
      Records with `pictures` and `slide_pictures`, the pairs of tiles and of slides;
      `beyond` has the first SHOWN of each; and `not_compared`, where slides have fewer
      than `thumbnails.FEWEST` tiles with a position.
    """
    by_name = {study.name: study for study in studies}
    known: dict[Path, Pictures] = {}
    records = []

    def pictures(study: Study) -> Pictures:
        if study.root not in known:
            known[study.root] = Pictures(study)
        return known[study.root]

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
                own.append(pictures(study).alike(learned, pictures(study), tested))
        against = {"its own fit fold": _joined(own)}
        for text in trains:
            other, split, fold = training_fold(text, by_name)
            learned, tested = other.fold_tiles(split, fold), task.test_tiles(study)
            found = pictures(other).alike(learned, pictures(study), tested)
            against[text] = _joined([found])
        for name, found in against.items():
            beyond = [*found["pictures"][:SHOWN], *found["slide_pictures"][:SHOWN]]
            record: Record = {
                "task": task.name,
                "against": f"pictures of {name}",
                "status": "overlap" if beyond else "clean",
                "stages": [],
                **{key: [] for key in ("patients", "barcodes", "slides", "sites")},
            }
            records.append({**record, **found, "beyond": beyond})
    return records
