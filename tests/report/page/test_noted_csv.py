"""Notes above a CSV are skipped, a # in a value is kept."""

import pytest

from pathjax.report.page.noted_csv import read_noted


def test_only_the_first_lines_are_notes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("\ufeff# a note\n# x,y\nx,id\n1,#7\n#2,b\n", encoding="utf-8")
    frame = read_noted(path, dtype=str)
    assert frame.to_dict("list") == {"x": ["1", "#2"], "id": ["#7", "b"]}


@pytest.mark.parametrize("text", ["", "# a note\n", 'a,b\n"1,2\n'])
def test_what_is_no_csv(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="is no CSV"):
        read_noted(path)
