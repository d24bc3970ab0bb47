"""The page in a real browser: it draws, sorts, searches, obeys keys, and asks nobody.

Skipped where there is no Chromium; PATHJAX_CHROMIUM names one.
"""

import pytest
from chromium import launched, open_page

from pathjax.report.page import write_page

pytestmark = pytest.mark.slow
SECTIONS = ["table", "deltas", "genes", "curves", "points", "grids", "maps", "audit",
            "origin", "commands"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture
def page(full_run, tabled, hostile):
    # A folder's name may hold what a URL has to have escaped.
    out = full_run / "re port#1"
    return write_page([full_run], tabled(full_run), out, title=hostile)


@pytest.fixture
def tab(browser, page):
    tab = open_page(browser, page)
    yield tab
    assert tab.logged == []
    assert tab.requested == [page.as_uri()]
    tab.context.close()


def column(tab, section, number):
    cells = f"#{section} tbody tr > :nth-child({number})"
    return [text.split("\n")[0] for text in tab.locator(cells).all_inner_texts()]


def test_it_draws_every_section_and_hostile_names_as_text(tab, hostile):
    shown = tab.locator("main section").evaluate_all("all => all.map(one => one.id)")
    assert shown == SECTIONS
    assert tab.title() == hostile
    assert tab.locator("h1").text_content() == hostile
    assert tab.locator("main img").count() == 0
    assert "SYNTHETIC" in tab.locator("#origin").inner_text()
    assert tab.locator("#deltas .bar[role=img]").count() == 4
    inked = tab.locator("canvas").evaluate_all(
        """all => all.map(one => one.getContext("2d").getImageData(0, 0, one.width,
        one.height).data.some(byte => byte))"""
    )
    assert inked == [True] * 5
    assert "30.0 to 48.0" in tab.locator("#points").inner_text()


def test_a_column_sorts_both_ways_and_back(tab):
    head = tab.locator("#genes thead th").nth(2)
    before = column(tab, "genes", 3)
    assert len(before) == 7 and before[2] == ""
    numbers = [float(t.replace("\u2212", "-")) for t in before if t]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    got = column(tab, "genes", 3)
    want = [f"{n:.3f}".replace("-", "\u2212") for n in sorted(numbers, reverse=True)]
    assert got == [*want, ""]
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(tab, "genes", 3) == [*want[::-1], ""]
    assert "ascending" in tab.locator("#said").inner_text()
    tab.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "none"
    assert column(tab, "genes", 3) == before


def test_the_mean_stays_at_the_foot_of_table_1(tab):
    tab.locator("#table thead button").nth(2).click()
    foot = tab.locator("#table tfoot th").inner_text()
    assert foot == "mean delta"
    assert len(column(tab, "table", 1)) == 3


def test_many_genes_are_searched_and_shown_by_steps(browser, tmp_path):
    from made_run import write_run

    from pathjax.report.compare import compare, load_runs

    write_run(tmp_path / "run", genes=300)
    table = compare(load_runs([tmp_path / "run"]), permutations=9)
    tab = open_page(browser, write_page([tmp_path / "run"], table, tmp_path))
    genes = tab.locator("#genes")
    assert len(column(tab, "genes", 1)) == 50
    genes.get_by_label("Search genes").fill("gene29")
    want = ["GENE29", *(f"GENE{n}" for n in range(290, 300))]
    assert column(tab, "genes", 1) == want
    assert "11 of 300 genes" in genes.inner_text()
    genes.get_by_label("Search genes").fill("gene299, GENE7")
    assert column(tab, "genes", 1)[-1] == "GENE299"
    genes.get_by_label("Search genes").fill("")
    genes.get_by_role("button", name="Show all 300").click()
    assert len(column(tab, "genes", 1)) == 300
    assert tab.logged == []
    tab.context.close()


def test_a_pointer_and_arrow_keys_tell_what_a_point_is(tab, hostile):
    canvas = tab.locator("#points canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    # The first point is at the lower left, 12 pixels from both edges.
    tab.mouse.move(box["x"] + 13, box["y"] + box["height"] - 13)
    assert tab.locator("#tip").inner_text() == "#1\na"
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + 1)
    assert tab.locator("#tip").is_hidden()
    canvas.focus()
    tab.keyboard.press("ArrowRight")
    seen = {tab.locator("#tip").inner_text().split("\n")[0]}
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight"):
        tab.keyboard.press(key)
        seen.add(tab.locator("#tip").inner_text().split("\n")[0])
    assert "#1" in seen and len(seen) >= 3
    tab.keyboard.press("Escape")
    assert tab.locator("#tip").is_hidden()


def test_a_class_is_hidden_by_its_button(tab):
    button = tab.locator("#points .legend button").first
    before = tab.locator("#points canvas").first.screenshot()
    button.focus()
    tab.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "false"
    assert tab.locator("#points canvas").first.screenshot() != before


def test_the_keyboard_reaches_everything_and_shows_where_it_is(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"
    reached = set()
    for _ in range(150):
        tab.keyboard.press("Tab")
        where, outline = tab.evaluate(
            """() => { const now = document.activeElement; return [
            now.closest("section")?.id ?? "", getComputedStyle(now).outlineStyle]; }"""
        )
        if where:
            reached.add(where)
            assert outline != "none"
        if where == "commands":
            break
    assert reached == set(SECTIONS)


def test_a_phone_has_nothing_to_scroll_sideways(browser, page):
    tab = open_page(browser, page, width=360, height=740, has_touch=True)
    wide = tab.evaluate("document.documentElement.scrollWidth")
    assert wide == 360
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_system_and_then_the_reader(browser, page, scheme):
    tab = open_page(browser, page, color_scheme=scheme)
    other = {"light": "dark", "dark": "light"}[scheme]
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = "rgb(20, 23, 26)"
    assert (tab.evaluate(ground) == dark) == (scheme == "dark")
    tab.get_by_role("button", name=other.capitalize(), exact=True).click()
    assert (tab.evaluate(ground) == dark) == (other == "dark")
    tab.reload()
    tab.wait_for_selector("html[data-ready]", state="attached")
    assert tab.evaluate("document.documentElement.dataset.theme") == other
    tab.context.close()


def test_paper_is_light_and_has_no_buttons(browser, page):
    tab = open_page(browser, page, color_scheme="dark")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")
    assert tab.evaluate("document.documentElement.dataset.theme") == "light"
    assert tab.locator("nav").is_hidden()
    assert tab.locator("#genes thead button").first.is_visible()
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
    tab.context.close()


def test_without_scripts_it_says_where_the_numbers_are(browser, page):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert "table.md" in tab.locator("noscript").inner_text()
    context.close()
