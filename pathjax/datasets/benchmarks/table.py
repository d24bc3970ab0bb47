"""The table of docs/benchmarks.md, from the registry, so that neither can drift.

    python -m pathjax.datasets.benchmarks.table

prints the two blocks; a test compares them with the file.
"""

from collections.abc import Iterable

from pathjax.datasets.benchmarks.benchmark import Benchmark
from pathjax.datasets.benchmarks.registry import BENCHMARKS

COLUMNS = ("name", "classes", "images", "size", "mpp", "folds", "patients", "licence")


def sets_table(benchmarks: Iterable[Benchmark]) -> str:
    """A row per benchmark, in Markdown; the scored fold is bold."""
    rows = [
        (
            f"`{one.name}`",
            ", ".join(one.classes).replace("_", r"\_"),
            ", ".join(
                f"**{fold} {count:,}**" if fold == one.scored else f"{fold} {count:,}"
                for fold, count in one.counts.items()
            ),
            one.native,
            f"{one.mpp:.3g}",
            one.rule.replace("_", r"\_"),
            one.patients.replace("_", r"\_"),
            one.licence,
        )
        for one in benchmarks
    ]
    lines = [COLUMNS, ("---",) * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def files_list(benchmarks: Iterable[Benchmark]) -> str:
    """Per benchmark what lies in its manual folder, its source and its notes."""
    lines = []
    for one in benchmarks:
        lines += [f"### {one.name}", "", f"{one.title}. {one.source}.", ""]
        for part in one.parts:
            names = [*part.places, *([part.archive] if part.archive else [])]
            how = "downloaded, or " if part.url else ""
            check = {"": "", "archive": ", MD5 compared"}.get(
                part.md5 and part.md5_of, ", MD5 of the uncompressed file compared"
            )
            optional = ", optional" if part.optional else ""
            places = " or ".join(f"`{name}`" for name in names)
            lines.append(f"- {places}: {how}{part.by_hand}{check}{optional}")
        if one.notes:
            lines += ["", f"{one.notes[0].upper()}{one.notes[1:]}."]
        lines.append("")
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    print(sets_table(BENCHMARKS.values()), files_list(BENCHMARKS.values()), sep="\n\n")
