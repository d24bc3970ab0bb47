"""Notes below the table: what a reader has to know."""

from made_results import change

from pathjax.report.compare import compare, load_runs
from pathjax.report.notes import _limits
from pathjax.report.table_data import Column


def test_notes_tell_what_a_reader_has_to_know(tmp_path, outcomes):
    made = outcomes.class_outcome("kind", 0.5, 3, synthetic=True)
    audit = {"status": "allowed", "patients": ["P3", "P4"], "slides": []}
    outcomes.write_model(tmp_path, "base", [made], audit={"status": "unknown"})
    outcomes.write_model(tmp_path, "tuned", [made], "base", 0, audit)
    change(tmp_path, lambda e: True, shared_patients=["P9"])
    text = "\n".join(compare(load_runs([tmp_path])).notes)
    for wanted in (
        "SYNTHETIC data (cohort)",
        "Patients P9 are in both fit and test",
        "base: what it was trained on is unknown",
        "tuned: TRAINED ON TEST PATIENTS, accepted by the user (P3, P4): kind",
        "Test rows 60, patients 20: kind",
        "Protocol linear/1, balanced_accuracy: kind",
        "Seeds: base 1, tuned 1",
        "With one seed",
        "*: p < 0.05 in a two-sided paired permutation test",
    ):
        assert wanted in text


def test_rows_that_a_task_left_out_are_said(tmp_path, outcomes):
    made = outcomes.class_outcome("kind", 0.5, 3)
    outcomes.write_model(tmp_path, "base", [made])
    two = {
        "unlabelled": {"fit": 4, "test": 2},
        "of_other_classes": {"fit": 0, "test": 1},
    }
    folds = {str(i): {"unlabelled": {"fit": 9, "test": i}} for i in range(3)}
    for hyper, rows in (
        (
            two,
            "4 fit and 2 test rows without a label; 1 test rows of classes that the ",
        ),
        ({"rounds": folds}, "3 test rows without a label: kind."),
        ({"without_partner": 5}, "5 test rows without expression to retrieve: kind."),
    ):
        change(tmp_path, lambda e: True, hyper=hyper)
        notes = compare(load_runs([tmp_path])).notes
        assert any(n.startswith(f"Left out: {rows}") for n in notes)
    change(tmp_path, lambda e: True, hyper={"unlabelled": {"fit": 0, "test": 0}})
    assert not any("Left out" in n for n in compare(load_runs([tmp_path])).notes)


def test_means_over_small_folds_of_several_patients_are_noted(tmp_path, outcomes):
    outcomes.write_model(tmp_path, "base", [outcomes.class_outcome("kind", 0.5, 3)])
    for folds, combine, said in (
        (15, "mean", "15 folds of about 4 test rows of 1 patients"),
        (3, "mean", "3 folds of about 20 test rows of 6 patients"),
        (2, "mean", ""),
        (20, "mean", ""),  # a patient each
        (15, "within", ""),
    ):
        rounds = {str(i): {} for i in range(folds)}
        change(tmp_path, lambda e: True, hyper={"rounds": rounds}, combine=combine)
        notes = compare(load_runs([tmp_path])).notes
        (*found,) = (note for note in notes if note.startswith("A mean over"))
        assert len(found) == bool(said) and all(said in note for note in found)


def test_few_units_are_named_as_what_they_are():
    """Blocks of one patient's section, or its rows, are no patients."""
    columns = [
        Column("people", n=60, n_patients=19),
        Column("enough", n=60, n_patients=20),
        Column("section", n=300, n_patients=1, n_blocks=12),
        Column("tiles", n=15, n_patients=1),
        Column("many tiles", n=300, n_patients=1),
        Column("numbers alone"),
    ]
    notes = [note for note in _limits(columns, ()) if note.startswith("Fewer than")]
    assert [(note[:30].split(" ")[4], note[-10:]) for note in notes] == [
        ("patients:", "d: people."),
        ("blocks:", ": section."),
        ("rows:", "ed: tiles."),
    ]
