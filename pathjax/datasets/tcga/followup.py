"""Survival in tables of TCGA: pairs of columns, their units and codes.

    PORPOISE's survival_months and censorship (1: no event); TCGA-CDR's OS.time and OS,
    DSS.time and DSS, PFI.time and PFI, DFI.time and DFI (days; 1: the event)
    -> followups_in -> Followup.value -> "24.11 months, event"

Sources agree that say the same event and times within half a month or 1 %. Liu et al.
2018 (TCGA-CDR, doi:10.1016/j.cell.2018.02.052) say which end points a cohort can bear.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.followup import DAYS_A_MONTH, followup_problem
from pathjax.data.tables import is_missing
from pathjax.datasets.tcga.tables import TcgaError

FOLLOWUP = {
    "os": "overall survival",
    "dss": "disease-specific survival",
    "pfi": "progression-free interval",
    "dfi": "disease-free interval",
}
EVENT, CENSORED = "event", "censored"


@dataclasses.dataclass(frozen=True)
class Followup:
    """A pair of columns.

    Attributes:
      label: Of `FOLLOWUP`.
      time, status: Names of the columns.
      days: How many of the time's unit a month has.
      inverted: The status is 1 for the censored.
    """

    label: str
    time: str
    status: str
    days: float = 1.0
    inverted: bool = False

    @property
    def columns(self) -> tuple[str, str]:
        return self.time, self.status

    def value(self, row: Mapping[str, str]) -> tuple[str, str]:
        """What a row says, "" if nothing; and what is wrong with it, "" if nothing."""
        texts = [row[name] for name in self.columns]
        if any(map(is_missing, texts)):
            return "", ""
        try:
            time, status = map(float, texts)
        except ValueError:
            return "", f"{self.time}, {self.status}: expected numbers, got {texts}"
        if time <= 0:
            return "", f"{self.time}: expected a time above 0, got {time:g}"
        happened = bool(status) != self.inverted
        return f"{time / self.days:.2f} months, {EVENT if happened else CENSORED}", ""


PAIRS = (
    Followup("os", "survival_months", "censorship", inverted=True),
    *(
        Followup(name.lower(), f"{name}.time", name, DAYS_A_MONTH)
        for name in ("OS", "DSS", "PFI", "DFI")
    ),
)


def followups_in(table: pd.DataFrame, path: Path) -> list[Followup]:
    """The pairs that a table has both columns of.

    Raises:
      TcgaError: Codes are not 0 and 1, or times are in another unit.
    """
    found = [one for one in PAIRS if set(one.columns) <= set(table.columns)]
    for one in found:
        time, status = (
            pd.to_numeric(table[name], errors="coerce") for name in one.columns
        )
        if problem := followup_problem(one.time, time / one.days, status):
            raise TcgaError(f"{path}: {problem} (events are those of {one.status})")
    return found


def split_followup(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Months and events of values as `Followup.value` writes them, NaN where missing."""
    parts = values.astype("string").str.split(" months, ", expand=True).reindex(
        columns=[0, 1]
    )  # fmt: skip
    events = parts[1].map({EVENT: 1.0, CENSORED: 0.0})
    return pd.to_numeric(parts[0]).astype("Float64").astype(float), events.astype(float)


def agree_on_followup(claims: pd.DataFrame) -> pd.Series:
    """Which claims on survival differ by rounding only, of a patient's claims on one."""
    own = claims[claims["label"].isin(list(FOLLOWUP))]
    months, events = split_followup(own["value"])
    groups = pd.DataFrame({"m": months, "e": events}).groupby(
        [own["patient"], own["label"]]
    )
    away = groups["m"].transform("max") - groups["m"].transform("min")
    close = away <= np.maximum(0.5, 0.01 * groups["m"].transform("max"))
    return close & (groups["e"].transform("nunique") == 1)
