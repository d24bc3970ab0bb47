"""Remembers what a finished shard was cut from, so that a re-run keeps or remakes it.

The writer knows whether a shard is whole; only the source knows whether the files it
was cut from have changed since. Notes live beside the writer's, in `.build/`.
"""

import json
from pathlib import Path

from pathjax.data.study_writer import StudyWriter
from pathjax.files import write_json


def _path(writer: StudyWriter, slide_id: str) -> Path:
    return writer.root / ".build" / f"{slide_id}.sources.json"


def kept(
    writer: StudyWriter, slide_id: str, sources: dict[str, str]
) -> dict[str, object] | None:
    """What was noted when the shard was made; None where it must be made (again).

    Args:
      writer: of the study.
      slide_id: the shard's name.
      sources: SHA-256 by file name of what decides its tiles.
    """
    path = _path(writer, slide_id)
    if not path.is_file():
        return None
    noted = json.loads(path.read_text(encoding="utf-8"))
    if noted["sources"] != sources or not writer.has_shard(slide_id):
        return None
    return noted["made"]


def keep(
    writer: StudyWriter,
    slide_id: str,
    sources: dict[str, str],
    made: dict[str, object],
) -> None:
    """Notes what a whole shard was cut from; call it after the shard's block."""
    write_json(_path(writer, slide_id), {"sources": sources, "made": made})
