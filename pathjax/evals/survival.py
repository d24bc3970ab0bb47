"""Labels of survival: months and events of patients, whatever samples they have.

    study, a survival target, rows of patients by role -> survival_labels -> labels [n, 2]

Samples of a patient must agree. Patients without follow-up, or with one of no time, are
left out and counted. It reads no file and fits nothing.
"""

from typing import Any

import numpy as np
import pandas as pd

from pathjax.data.followup import event_column, followup_of
from pathjax.evals import EvalError
from pathjax.stats.survival import GRID

# Names of a prediction's columns.
COLUMNS = ("risk", *(f"alive at {month:g} months" for month in GRID))


def patients_followup(study, name: str) -> pd.DataFrame:
    """Months and event of each patient, indexed by id; NaN where unknown.

    Raises:
      EvalError: Samples of a patient disagree, or the columns are wrong.
    """
    try:
        pair = followup_of(study.samples, name)
    except ValueError as error:
        raise EvalError(str(error)) from error
    pair.index = pd.Index(study.samples["patient_id"].astype(str))
    each = pair.dropna().groupby(level=0)
    several = sorted(each.nunique().max(axis=1).loc[lambda count: count > 1].index)
    if several:
        values = pair.loc[several[0]].dropna().to_numpy().tolist()
        raise EvalError(
            f"samples of {len(several)} patients have different {name} or "
            f"{event_column(name)}, first {several[0]}: {values[:3]}. Expected one "
            "follow-up of a patient"
        )
    return each.first().reindex(pair.index.unique())


def require_events(events: dict[str, int], rows: dict[str, int], crossed: bool) -> None:
    """Refuses folds without an event; a tested fold of several may have none.

    Raises:
      EvalError: Nothing can be learned or scored.
    """
    if not sum(events.values()):
        raise EvalError(
            f"all {sum(rows.values())} patients are censored: there is no event to learn "
            "from. Is the event column inverted (1 means event)?"
        )
    for role, count in events.items():
        if not count and not (crossed and role == "test"):
            raise EvalError(
                f"the {role} fold has no event among {rows[role]} patients: make folds "
                "with `pathjax data split --stratify` by the target"
            )


def survival_labels(task, study, rows, drop, require_rows):
    """Labels by role, names of the prediction's columns, and what was left out.

    Args:
      task, study: Of `rows.prepare`.
      rows: Of patients, by role.
      drop, require_rows: `rows._drop` and `rows._require_rows`.
    """
    table = patients_followup(study, str(task.target))

    def known(part) -> np.ndarray:
        return table.loc[part.patient].to_numpy(np.float64)

    rows, unlabelled = drop(rows, lambda part: ~np.isfinite(known(part)).all(axis=1))
    rows, no_time = drop(rows, lambda part: known(part)[:, 0] <= 0)
    require_rows(rows)
    labels = {role: known(part) for role, part in rows.items()}
    events = {role: int(part[:, 1].sum()) for role, part in labels.items()}
    sizes = {role: len(part) for role, part in labels.items()}
    require_events(events, sizes, task.crossed)
    info: dict[str, Any] = {"unlabelled": unlabelled, "without_time": no_time}
    return rows, labels, COLUMNS, info | {"fold_events": events}
