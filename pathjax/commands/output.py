"""Messages that several commands print at their end."""

from pathlib import Path


def print_built(study) -> None:
    """Prints the size of a built study, and what was skipped with reasons."""
    print(
        f"{study.root}: {len(study)} tiles, {len(study.samples)} samples"
        + (", synthetic" if study.synthetic else "")
    )
    print_skipped(study.meta["skipped"], study.root / "study.json")


def print_skipped(skipped, where: Path) -> None:
    """Prints the first ten skipped items with their reasons; `where` has all of them."""
    for item in skipped[:10]:
        print(f"skipped {item['what']}: {item['reason']}")
    if len(skipped) > 10:
        print(f"... and {len(skipped) - 10} more, see {where}")
