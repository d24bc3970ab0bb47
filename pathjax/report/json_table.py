"""The table for programs: one record per model and task, numbers as fractions.

    Table -> table_json -> RUN/report/table.json

Every record has every key; what is not known, or has no meaning there, is null. It is
written beside the CSV, which is what is read back.
"""

from typing import Any

from pathjax.report.table_data import LEVEL, MEAN, Column, Estimate, Row, Table

SCHEMA = 1


def table_json(table: Table) -> dict[str, Any]:
    """The table as values that JSON has words for.

    Returns:
      `schema`, `title`, `notes`, `interval` (its level), and `cells`: a list of records
      with `model, base, task, metric, protocol, chance, n, n_patients, seeds`; `value,
      value_low, value_high` of the model itself; `delta, delta_low, delta_high, p,
      p_holm, permutations` against its base; `replicates` of the bootstrap, where an
      interval is there. Two-sided p; `permutations` patterns of exchanged patients.
      The mean delta is a record whose task is "mean delta".
    """
    cells = []
    for row in table.rows:
        for column in table.columns:
            value, delta = row.values.get(column.task), row.deltas.get(column.task)
            if value or delta:
                cells.append(_cell(table, row, column, value, delta))
        if row.mean:
            cells.append(_cell(table, row, Column(MEAN), None, row.mean))
    return {
        "schema": SCHEMA,
        "title": table.title,
        "interval": 1 - LEVEL,
        "cells": cells,
        "notes": list(table.notes),
    }


def _cell(
    table: Table,
    row: Row,
    column: Column,
    value: Estimate | None,
    delta: Estimate | None,
) -> dict[str, Any]:
    has_interval = any(one and one.low is not None for one in (value, delta))
    return {
        "model": row.name,
        "base": row.base,
        "task": column.task,
        "metric": column.metric or None,
        "protocol": column.protocol or None,
        "chance": column.chance,
        "n": column.n,
        "n_patients": column.n_patients,
        "seeds": row.seeds or None,
        "value": value.value if value else None,
        "value_low": value.low if value else None,
        "value_high": value.high if value else None,
        "delta": delta.value if delta else None,
        "delta_low": delta.low if delta else None,
        "delta_high": delta.high if delta else None,
        "p": delta.p if delta else None,
        "p_holm": delta.p_holm if delta else None,
        "permutations": delta.permutations if delta else None,
        "replicates": table.replicates if has_interval else None,
    }
