"""Strategies that damage valid inputs, and what every command owes its user then.

A property here is: whatever is done to an input, the command gives the right result or
one error of a sentence or two with a status that is not 0; nothing is lost in silence.
PATHJAX_EXAMPLES=1000 tries that many examples of each property, chosen at random.
"""

import contextlib
import copy
import io
import json
import os
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pathjax.cli import main

LONGEST = 600  # characters of an error
EXAMPLES = os.environ.get("PATHJAX_EXAMPLES")


def examples(count: int) -> settings:
    """So many examples, the same in every run; PATHJAX_EXAMPLES new ones if set."""
    return settings(
        max_examples=int(EXAMPLES or count),
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )


class Outcome(NamedTuple):
    """Of a command: its status, and what it printed."""

    status: int
    out: str
    err: str


def run(*words: object) -> Outcome:
    """Runs a command in this process, and requires of an error that it is plain."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stopped:  # argparse
            status = int(stopped.code or 0)
    outcome = Outcome(status, out.getvalue(), err.getvalue())
    if status:
        require_plain(outcome.err)
    return outcome


def require_plain(message: str) -> None:
    """A sentence or two: short, no traceback, no advice that endangers the user."""
    text = message.replace("(PATHJAX_TRACEBACK=1 shows where)", "").strip()
    assert text, "there is no message"
    assert len(text) < LONGEST, f"{len(text)} characters: {text}"
    for word in ("Traceback", 'File "', "weights_only", "\x1b", "object at 0x"):
        assert word not in text, text


def refused(call, *kinds: type[Exception]) -> bool:
    """Whether `call` refused its input with an error of these kinds, in plain words."""
    try:
        call()
    except kinds as error:
        require_plain(str(error))
        return True
    return False


ODD_TEXT = st.sampled_from(
    ["", " ", "NA", "nan", "inf", "-1", "1e400", "0", "True", "null", "7.0", "07", "é",
     "日本", "a b", "~", "../x", "a/b", "x" * 100, "\t", "#", '"', "=1+1", "🙂"]
)  # fmt: skip
ODD_NUMBERS = st.sampled_from(
    [float("nan"), float("inf"), float("-inf"), -1, 0, -0.5, 1e300, 2**63, True]
)
ODD_VALUES = (
    ODD_TEXT
    | ODD_NUMBERS
    | st.sampled_from([None, [], {}, [1], {"a": 1}, [[]], "x"])
    | st.integers(-3, 3)
)


@st.composite
def damaged_table(draw, columns: list[str], rows: list[list[str]]) -> tuple:
    """Columns and rows of a table after some damages."""
    columns, rows = list(columns), [list(row) for row in rows]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(columns) - 1))
        kind = draw(
            st.sampled_from(
                ["cell", "cell", "drop column", "rename", "double column", "empty column",
                 "double row", "many rows", "drop row", "short row", "long row", "add column"]
            )
        )  # fmt: skip
        if kind == "cell" and rows:
            row = draw(st.sampled_from(rows))
            if at < len(row):
                row[at] = draw(ODD_TEXT)
        elif kind == "drop column" and len(columns) > 1:
            columns.pop(at)
            rows = [row[:at] + row[at + 1 :] for row in rows]
        elif kind == "rename":
            columns[at] = draw(ODD_TEXT | st.just(columns[at].upper()))
        elif kind == "double column":
            columns.append(columns[at])
            rows = [[*row, *row[at : at + 1]] for row in rows]
        elif kind == "empty column":
            rows = [row[:at] + [""] + row[at + 1 :] for row in rows]
        elif kind == "double row" and rows:
            rows.append(list(draw(st.sampled_from(rows))))
        elif kind == "many rows":
            rows = [list(row) for row in rows for _ in range(30)]
        elif kind == "drop row" and rows:
            rows.pop()
        elif kind == "short row" and rows:
            rows[-1] = rows[-1][:-1]
        elif kind == "long row" and rows:
            rows[-1] = [*rows[-1], "more"]
        elif kind == "add column":
            columns.append("extra")
            rows = [[*row, "1"] for row in rows]
    return columns, rows


@st.composite
def table_bytes(
    draw, columns: list[str], rows: list[list[str]], separators: str = ",,,;\t"
) -> bytes:
    """A table as a file: damaged, with some separator, line end and encoding."""
    names, cells = draw(damaged_table(columns, rows))
    separator = draw(st.sampled_from(separators))
    end = draw(st.sampled_from(["\n", "\n", "\r\n"]))

    def line(values: list[str]) -> str:
        quoted = [
            '"' + v.replace('"', '""') + '"' if set(v) & {separator, '"', "\n"} else v
            for v in values
        ]
        return separator.join(quoted)

    text = end.join([line(names), *map(line, cells)]) + end
    encoding = draw(st.sampled_from(["utf-8"] * 4 + ["utf-8-sig", "utf-16", "latin-1"]))
    return draw(cut(text.encode(encoding, "replace")))


@st.composite
def cut(draw, whole: bytes) -> bytes:
    """Bytes, one time in four damaged themselves."""
    kind = draw(st.sampled_from(["whole"] * 6 + ["cut", "zero", "noise"]))
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole)))]
    if kind == "noise":
        at = draw(st.integers(0, max(0, len(whole) - 1)))
        return whole[:at] + draw(st.binary(min_size=1, max_size=8)) + whole[at + 1 :]
    return b"\0" * len(whole) if kind == "zero" else whole


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every path into a JSON value, the value itself left out."""
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [
        place
        for key, inner in items
        for place in ((*path, key), *places(inner, (*path, key)))
    ]


@st.composite
def damaged_json(draw, value: Any) -> Any:
    """A JSON value with some keys dropped, added or given other values."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        known = places(value)
        if not known:
            break
        *path, last = draw(st.sampled_from(known))
        inner = value
        for key in path:
            inner = inner[key]
        kind = draw(st.sampled_from(["set", "set", "drop", "add"]))
        if kind == "set":
            inner[last] = copy.deepcopy(draw(ODD_VALUES))
        elif kind == "drop":
            del inner[last]
        elif isinstance(inner, dict):
            inner[draw(ODD_TEXT)] = copy.deepcopy(draw(ODD_VALUES))
        else:
            inner.append(copy.deepcopy(draw(ODD_VALUES)))
    return value


@st.composite
def json_bytes(draw, value: Any) -> bytes:
    """A damaged JSON value as a file."""
    text = json.dumps(draw(damaged_json(value) | ODD_VALUES))
    return draw(cut(text.encode(draw(st.sampled_from(["utf-8"] * 5 + ["utf-16"])))))
