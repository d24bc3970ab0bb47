"""Controls of made results: differences are those of a table with the control as base."""

import pytest
from made_results import change, class_outcome, gene_outcome, write_model

from pathjax.evals.candidates import PERMUTED, SHUFFLED
from pathjax.report.compare import compare, load_runs
from pathjax.report.table import render_markdown, write_report
from pathjax.report.table_data import MEAN

CONTROL, ALONE = f"tuned ({SHUFFLED})", "continued"


@pytest.fixture
def run(tmp_path):
    def tasks(right, seed):
        return [
            class_outcome("one", right, seed, patients=60),
            gene_outcome("two", 2 - right, seed, patients=60),
        ]

    write_model(tmp_path, "base", tasks(0.4, 1))
    write_model(tmp_path, "tuned", tasks(0.95, 2), "base", 0)
    write_model(tmp_path, "other", tasks(0.9, 5), "base", 0)
    write_model(tmp_path, CONTROL, tasks(0.4, 3), "base", 0)
    write_model(tmp_path, ALONE, tasks(0.95, 2), "base", 0)
    permuted = f"base ({PERMUTED})"
    write_model(tmp_path, permuted, tasks(0.34, 4))
    for name, control in ((CONTROL, SHUFFLED), (ALONE, "more self-supervision"),
                          (permuted, PERMUTED)):  # fmt: skip
        change(
            tmp_path, lambda entry, name=name: entry["model"] == name, control=control
        )
    return tmp_path


def test_a_difference_is_the_tuned_model_minus_the_control(run):
    table, written = write_report([run], run / "report")
    scored = [item for item in load_runs([run]) if item.key[0] in (CONTROL, "tuned")]
    for item in scored:
        item.entry["base"] = CONTROL if item.key[0] == "tuned" else None
        item.entry.pop("inputs", None)
    wanted = compare(scored)
    text = written[f"control:{CONTROL}"].read_text()
    last = render_markdown(wanted).splitlines()[3]
    assert last in text
    assert "other" not in text.split("\n\n")[1]  # shuffled pairs of another objective
    delta = {row.name: row.delta(MEAN).value for row in table.rows if row.base}
    difference = next(row for row in wanted.rows if row.name == "tuned").mean.value
    assert difference == pytest.approx(delta["tuned"] - delta[CONTROL])


def test_the_table_says_what_survives(run):
    notes = write_report([run], run / "report")[0].notes
    (shuffled,) = [
        note for note in notes if note.startswith(f"tuned and its control {CONTROL}")
    ]
    assert "survives" in shuffled
    assert "beyond it on one" in shuffled
    (alone,) = [
        note for note in notes if note.startswith(f"tuned and its control {ALONE}")
    ]
    assert "the difference 0.0 [0.0, 0.0] is not more than chance" in alone.replace(
        "+", ""
    )
    assert "beyond it on no task" in alone


def test_a_tuned_model_below_its_control_is_said_to_be(tmp_path):
    for name, right, base in (("base", 0.4, None), ("tuned", 0.45, "base"),
                              (CONTROL, 0.97, "base")):  # fmt: skip
        outcome = class_outcome("one", right, 2, patients=60)
        write_model(tmp_path, name, [outcome], base, 0 if base else None)
    change(tmp_path, lambda entry: entry["model"] == CONTROL, control=SHUFFLED)
    notes = write_report([tmp_path], tmp_path / "report")[0].notes
    (note,) = [note for note in notes if note.startswith("tuned and its control")]
    assert "] is below the control; " in note and "below it on one" in note


def test_means_are_over_the_tasks_that_the_base_has(run):
    """Retrieval needs a tuned model: with it the difference would have another mean."""
    without = write_report([run], run / "report")[0].notes
    for name, right in (("tuned", 0.9), (CONTROL, 0.1)):
        outcome = class_outcome("three", right, 7, patients=60)
        write_model(run, name, [outcome], "base", 0)
    change(run, lambda entry: entry["model"] == CONTROL, control=SHUFFLED)
    start = f"tuned and its control {CONTROL}"
    (note,) = [n for n in without if n.startswith(start)]
    assert note in write_report([run], run / "report")[0].notes


def test_permuted_labels_are_said_to_be_at_chance_or_not(run):
    notes = write_report([run], run / "report")[0].notes
    (note,) = [note for note in notes if note.startswith(f"base ({PERMUTED})")]
    assert "excludes it on" in note


def test_without_controls_there_is_nothing_to_say(tmp_path):
    write_model(tmp_path, "base", [class_outcome("one", 0.5, 1)])
    write_model(tmp_path, "tuned", [class_outcome("one", 0.9, 2)], "base", 0)
    table, written = write_report([tmp_path], tmp_path / "report")
    assert not [name for name in written if name.startswith("control")]
    assert not [note for note in table.notes if "control" in note]
