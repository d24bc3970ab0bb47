import dataclasses
import io
import socket

import pytest
from rich.console import Console

from pathjax.zoo import MODELS, get
from pathjax.zoo.listing import amount, details, models_table, weights


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a listing opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)


def shown(entries, width=240) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(models_table(entries))
    return console.file.getvalue()


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if f" {name} " in line)


def test_the_table_has_a_row_for_each_model():
    text = shown(MODELS.values())
    for entry in MODELS.values():
        line = row(text, entry.name)
        for cell in (entry.architecture, entry.licence, weights(entry)):
            assert cell in line


def test_a_row_says_what_a_user_chooses_by():
    text = shown(MODELS.values())
    assert "631.2 M" in row(text, "virchow2")
    assert "CLS + mean, 2560" in row(text, "virchow2")
    assert "yes" in row(text, "virchow2")
    assert "0.5" in row(text, "kaiko-vits16")
    assert "vit.no_embed_class" in row(text, "h0-mini")


def test_markup_in_a_fact_is_shown_and_not_obeyed():
    odd = dataclasses.replace(get("uni"), licence="[bold]free[/bold]")
    assert "[bold]free[/bold]" in shown([odd])


def test_a_narrow_terminal_still_gets_the_table():
    assert "uni" in shown([get("uni")], width=60)


@pytest.mark.parametrize("name", MODELS)
def test_details_tell_all_facts_and_doubts(name):
    entry = get(name)
    text = details(entry)
    assert text.startswith(entry.title)
    for fact in (entry.licence_url, entry.pretraining, entry.source, *entry.sources):
        assert fact in text
    assert text.count("(unverified)") == len(entry.unknown)


def test_details_say_unknown_where_nothing_is_known():
    lines = details(get("virchow2")).splitlines()
    assert "  saw TCGA        unknown" in lines
    assert "  derived weights no sharing" in lines


def test_amounts_have_four_digits_at_most():
    assert [amount(n) for n in (21_665_664, 303_350_784, 1_134_769_664)] == [
        "21.7 M",
        "303.4 M",
        "1.13 G",
    ]
