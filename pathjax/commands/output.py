"""What commands that build something say at their end."""

from pathlib import Path


def print_built(study) -> None:
    """What was built and what was skipped, with reasons."""
    print(
        f"{study.root}: {len(study)} tiles, {len(study.samples)} samples"
        + (", synthetic" if study.synthetic else "")
    )
    print_skipped(study.meta["skipped"], study.root / "study.json")


def print_skipped(skipped, where: Path) -> None:
    """What was passed over, the first ten with their reasons."""
    for entry in skipped[:10]:
        print(f"skipped {entry['what']}: {entry['reason']}")
    if len(skipped) > 10:
        print(f"... and {len(skipped) - 10} more, in {where}")
