"""The frontier: expression against the other tasks."""

from PIL import Image

from pathjax.report.frontier import draw_frontier, frontier
from pathjax.report.table_data import Column, Estimate, Row, Table

COLUMNS = (
    Column("genes", "pearson", kind="expression"),
    Column("a", "balanced_accuracy"),
    Column("b", "auroc"),
    Column("error", "brier", percent=False),
    Column("recall", "recall@10", kind="retrieval"),
)


def row(name, genes, a, b, error=5.0, base="base"):
    deltas = {"genes": genes, "a": a, "b": b, "error": error}
    known = {
        task: Estimate(value) for task, value in deltas.items() if value is not None
    }
    return Row(name, base, False, known, known)


def test_a_blend_is_one_line_in_the_order_of_alpha():
    rows = (
        row("blend alpha 1", 0.2, -0.1, -0.3),
        row("blend alpha 0.5", 0.1, 0.0, 0.1),
        row("tuned", 0.3, 0.2, 0.4),
        row("half", 0.3, 0.2, None),
    )
    blend, tuned = frontier(Table(COLUMNS, rows))
    assert (blend.name, blend.alphas, blend.gained) == ("blend", (0.5, 1), (0.1, 0.2))
    assert blend.kept == (0.05, -0.2)
    assert (tuned.name, tuned.alphas, tuned.gained) == ("tuned", (), (0.3,))


def test_no_frontier_without_a_blend_or_with_one_kind_of_task(tmp_path):
    rows = (row("tuned", 0.3, 0.2, 0.4),)
    assert frontier(Table(COLUMNS, rows)) == []
    blends = (row("blend alpha 1", 0.3, 0.2, 0.4),)
    assert frontier(Table(COLUMNS[:1], blends)) == []
    assert not draw_frontier(Table(COLUMNS[1:], blends), tmp_path / "f.png")
    assert not (tmp_path / "f.png").exists()


def test_the_figure(tmp_path):
    rows = (row("$ alpha 0", 0.0, 0.0, 0.0), row("$ alpha 1", 0.2, -0.1, 0.3))
    table = Table(COLUMNS, (*rows, row("tuned", 0.1, 0.1, 0.1)))
    assert draw_frontier(table, tmp_path / "f.png")
    with Image.open(tmp_path / "f.png") as image:
        assert min(image.size) > 300
