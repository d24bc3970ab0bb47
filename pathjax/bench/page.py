"""`pathjax bench page`: how soon the report's page is on the screen, what it weighs.

    pathjax bench page [--config.genes=2000 --config.points=20000] [--out FILE]

A made-up run is reported as `pathjax report --html` does, with few replicates, and
opened in a headless Chromium, each round in a fresh context without a cache.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from pathjax.bench.browser import launched, open_page
from pathjax.bench.options import PRIVATE
from pathjax.bench.page_run import PageOptions, write_run
from pathjax.bench.report import machine
from pathjax.report.compare import compare, load_runs
from pathjax.report.page import write_page

BAR_SECONDS, BAR_BYTES = 2.0, 10_000_000
# Two frames on, what was drawn last is on the screen. By the page's own clock, which
# starts with the navigation.
DRAWN = """() => new Promise((done) => requestAnimationFrame(() =>
  requestAnimationFrame(() => done(performance.now() / 1000))))"""
LOADED = """() => performance.getEntriesByType("navigation")[0]
  .domContentLoadedEventEnd / 1000"""


def measure(options: PageOptions) -> dict[str, Any]:
    """Seconds to DOMContentLoaded and to the picture, of each round, and bytes.

    Raises:
      BenchError: playwright or Chromium is not there.
      RuntimeError: the page logged something or asked for another file.
    """
    before, loaded, drawn = machine(), [], []
    with tempfile.TemporaryDirectory() as folder, launched() as browser:
        run = Path(folder) / "run"
        write_run(run, options)
        table = compare(load_runs([run]), replicates=100, permutations=100)
        began = time.perf_counter()
        page = write_page([run], table, run / "report")
        wrote = time.perf_counter() - began
        for _ in range(options.rounds):
            tab = open_page(browser, page)
            drawn.append(tab.evaluate(DRAWN))
            loaded.append(tab.evaluate(LOADED))
            if tab.told or len(tab.asked) != 1:
                raise RuntimeError(f"the page said {tab.told}, asked for {tab.asked}")
            tab.context.close()
        size, version = page.stat().st_size, browser.version
    return {
        "schema": 1,
        "what": "page",
        "options": {k: v for k, v in vars(options).items() if k not in PRIVATE},
        "machine": before,
        "chromium": version,
        "seconds": {"loaded": loaded, "drawn": drawn, "write": wrote},
        "bytes": size,
    }


def show(found: dict[str, Any]) -> None:
    """Prints what was measured beside the bars."""
    drawn = found["seconds"]["drawn"]
    loaded = statistics.median(found["seconds"]["loaded"])
    console = Console()
    console.print(
        f"Chromium {found['chromium']}: DOMContentLoaded {loaded:.2f} s, drawn "
        f"{statistics.median(drawn):.2f} s ({min(drawn):.2f} to {max(drawn):.2f}, bar "
        f"{BAR_SECONDS:.0f}); {found['bytes'] / 1e6:.2f} MB (bar {BAR_BYTES / 1e6:.0f})"
    )
