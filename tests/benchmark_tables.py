"""Prints the table and lists of docs/benchmarks.md; a test compares them with the page.

python tests/benchmark_tables.py
"""

from collections.abc import Iterable

from pathjax.datasets.benchmarks.benchmark import Benchmark
from pathjax.datasets.benchmarks.sets import BENCHMARKS

COLUMNS = ("name", "classes", "images", "size", "mpp", "folds", "patients", "licence")
CHECKS = {
    "archive": ", MD5 compared",
    "content": ", MD5 of the uncompressed file compared",
}


def sets_table(benchmarks: Iterable[Benchmark]) -> str:
    """One Markdown row per benchmark; the scored fold is bold."""
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for benchmark in benchmarks:
        images = {fold: f"{fold} {n:,}" for fold, n in benchmark.counts.items()}
        images[benchmark.scored] = f"**{images[benchmark.scored]}**"
        cells = [f"`{benchmark.name}`"]
        cells += [", ".join(benchmark.classes).replace("_", r"\_")]
        cells += [", ".join(images.values()), benchmark.native, f"{benchmark.mpp:.3g}"]
        cells += [s.replace("_", r"\_") for s in (benchmark.rule, benchmark.patients)]
        lines.append((*cells, benchmark.licence))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def files_list(benchmarks: Iterable[Benchmark]) -> str:
    """The files of each benchmark's manual folder, its source and its notes."""
    lines = []
    for benchmark in benchmarks:
        title = f"{benchmark.title}. {benchmark.source}."
        lines += [f"### {benchmark.name}", "", title, ""]
        for part in benchmark.parts:
            names = " or ".join(f"`{name}`" for name in part.names)
            download = "downloaded, or " if part.url else ""
            check = CHECKS[part.md5_of] if part.md5 else ""
            optional = ", optional" if part.optional else ""
            lines.append(f"- {names}: {download}{part.by_hand}{check}{optional}")
        if benchmark.notes:
            lines += ["", f"{benchmark.notes[0].upper()}{benchmark.notes[1:]}."]
        lines.append("")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    print(sets_table(BENCHMARKS.values()), files_list(BENCHMARKS.values()), sep="\n\n")
