"""Follow-up of patients: a time and an event, what they are called, what is wrong with them.

A target NAME of kind "survival" has two columns of samples: NAME, months since diagnosis
(or another start), and NAME_event, 1 where the event was seen and 0 where follow-up
ended without it (censored). It reads no file.
"""

import numpy as np
import pandas as pd

DAYS_A_MONTH = 365.25 / 12
LONGEST = 600.0  # months, 50 years: longer follow-up is in another unit


def event_column(name: str) -> str:
    """The column of a survival target's events."""
    return f"{name}_event"


def followup_of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Months and events as numbers; rows that lack one have neither.

    Raises:
      ValueError: Events or times cannot be what they are said to be.
    """
    event = event_column(name)
    pair = table[[name, event]].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    if problem := followup_problem(name, pair[name], pair[event]):
        raise ValueError(problem)
    return pair.where(pair.notna().all(axis=1))


def followup_problem(name: str, months, events) -> str:
    """The first thing that is wrong with a column of times and one of events, or ""."""
    months, events = np.asarray(months, float), np.asarray(events, float)
    coded = np.unique(events[np.isfinite(events)])
    if not np.isin(coded, (0, 1)).all():
        found = ", ".join(f"{value:g}" for value in coded[:5])
        why = "; R codes events 2 and censored 1: subtract 1" * ({*coded} == {1, 2})
        return f"{name}: expected events 1 and censored 0, got {found}{why}"
    known = months[np.isfinite(months)]
    if len(known) and known.max() > LONGEST:
        return (
            f"{name}: expected months, got up to {known.max():.0f} "
            f"({known.max() / 12:.0f} years): if these are days, divide them by "
            f"{DAYS_A_MONTH:.4f}"
        )
    return ""


def target_problems(name: str, samples: pd.DataFrame) -> list[str]:
    """What is wrong with a study's survival target."""
    event = event_column(name)
    if event not in samples:
        return [f"target {name} is survival, and there is no column {event} of samples"]
    months = pd.to_numeric(samples[name], errors="coerce")
    events = pd.to_numeric(samples[event], errors="coerce")
    problem = followup_problem(name, months, events)
    problems = [f"target {problem}"] if problem else []
    if (months < 0).any():
        ids = samples.loc[months < 0, "sample_id"].tolist()
        problems.append(
            f"target {name}: {len(ids)} times are below 0, first of samples {ids[:3]}"
        )
    return problems
