"""Builds a study shard by shard, so that a killed build goes on where it stopped.

A shard is written beside its final name and renamed when whole; its rows are kept in
`.build/` until `finish` joins them. study.json is written last: a directory with one is
a whole study. The writer decides nothing about content; sources do.
"""

import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import pathjax
from pathjax.data.check import inconsistencies, refuse
from pathjax.data.index_check import IndexCheck
from pathjax.data.slide_table import complete, slide_problems
from pathjax.data.study import (
    SCHEMA,
    Split,
    Study,
    StudyError,
    Target,
    sha256,
)
from pathjax.data.tile_table import join, schema_of, stream
from pathjax.files import atomic_path, write_json

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# One record per group: random reads are 5 to 10 times slower otherwise
# (docs/performance.md). Uncompressed, because tiles are JPEG or PNG already.
RECORD_OPTIONS = "group_size:1,uncompressed"


class ShardWriter:
    """Takes the tiles of one shard; made by `StudyWriter.shard`."""

    def __init__(self, records, slide_id: str, shard: int):
        self._records = records
        self._slide_id = slide_id
        self._shard = shard
        self.rows: list[dict[str, Any]] = []

    def add(
        self,
        data: bytes,
        *,
        tile_id: str,
        sample_id: str,
        patient_id: str,
        site: str,
        x: int,
        y: int,
        mpp: float,
        slide_id: str | None = None,
        **targets: Any,
    ) -> None:
        """Appends one encoded tile.

        Args:
          data: JPEG or PNG bytes.
          tile_id: unique in the study.
          sample_id, patient_id, site: whose tile it is.
          x, y: top left corner in the slide, level-0 pixels.
          mpp: micrometres per pixel of the tile as stored.
          slide_id: the slide, where a shard holds several; else the shard's name.
          **targets: tile-level targets by name.
        """
        self._records.write(data)
        self.rows.append(
            {
                "tile_id": tile_id,
                "sample_id": sample_id,
                "patient_id": patient_id,
                "site": site,
                "slide_id": self._slide_id if slide_id is None else slide_id,
                "x": int(x),
                "y": int(y),
                "mpp": float(mpp),
                "shard": self._slide_id,
                "row": len(self.rows),
                **targets,
            }
        )


class StudyWriter:
    """Builds one study.

    Args:
      root: directory; made when missing.
      name: the study's name.
      tile_px: side of a stored tile in pixels.
      mpp: micrometres per pixel of stored tiles.
      gene_id_type: what `var_names` are ("symbol", "ensembl"), None without genes.
      synthetic: True labels everything made from it as synthetic.
      provenance: sources, licences, checksums, free text.
      build: the parameters that decide the tiles' content. A directory begun with
        other parameters is refused, for its shards would be mixed.

    Raises:
      StudyError: the directory was begun with other parameters.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        name: str,
        tile_px: int,
        mpp: float,
        gene_id_type: str | None,
        synthetic: bool,
        provenance: dict[str, Any],
        build: dict[str, Any],
    ):
        self.root = Path(root)
        self._meta = {
            "schema": SCHEMA,
            "name": name,
            "synthetic": synthetic,
            "tile_px": int(tile_px),
            "mpp": float(mpp),
            "gene_id_type": gene_id_type,
            "provenance": {
                **provenance,
                "pathjax": pathjax.__version__,
                "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
            },
            "build": build,
        }
        self._skipped: list[dict[str, str]] = []
        self._order: list[str] = []
        (self.root / "tiles").mkdir(parents=True, exist_ok=True)
        begun = self.root / ".build" / "parameters.json"
        wanted = json.loads(json.dumps(build))
        if begun.exists():
            found = json.loads(begun.read_text(encoding="utf-8"))
            if found != wanted:
                keys = sorted(set(found) | set(wanted))
                changes = [
                    f"{key}: {found.get(key)!r} there, {wanted.get(key)!r} wanted"
                    for key in keys
                    if found.get(key) != wanted.get(key)
                ]
                raise StudyError(
                    f"{self.root} was begun with other parameters "
                    f"({'; '.join(changes)}): choose another directory, or remove it"
                )
        else:
            write_json(begun, build)

    def _rows_path(self, slide_id: str) -> Path:
        return self.root / ".build" / f"{slide_id}.parquet"

    def has_shard(self, slide_id: str) -> bool:
        """True when the shard is whole already; it then counts as part of the study."""
        whole = self._rows_path(slide_id).exists() and self._shard(slide_id).exists()
        if whole and slide_id not in self._order:
            self._order.append(slide_id)
        return whole

    def _shard(self, slide_id: str) -> Path:
        return self.root / "tiles" / f"{slide_id}.array_record"

    @contextlib.contextmanager
    def shard(self, slide_id: str) -> Iterator[ShardWriter]:
        """Opens a shard for the tiles of one slide, section or group of patients.

        The shard appears when the block ends; an exception discards it.

        Raises:
          StudyError: the name cannot be a file name, or the shard would be empty.
        """
        from array_record.python.array_record_module import ArrayRecordWriter

        if not SAFE_NAME.fullmatch(slide_id):
            raise StudyError(
                f"{slide_id!r} cannot name a shard: letters, digits, '.', '_' and '-' "
                "only, and not '.' first"
            )
        with atomic_path(self._shard(slide_id)) as partial:
            records = ArrayRecordWriter(str(partial), RECORD_OPTIONS)
            shard = ShardWriter(records, slide_id, len(self._order))
            try:
                yield shard
            finally:
                records.close()
            if not shard.rows:
                raise StudyError(
                    f"shard {slide_id} got no tile: do not open a shard for a slide "
                    "without tiles, name it with skip() instead"
                )
            # Rows of an earlier shard of this name say nothing of the new one.
            self._rows_path(slide_id).unlink(missing_ok=True)
        self._keep_rows(slide_id, pd.DataFrame(shard.rows))

    def _keep_rows(
        self, slide_id: str, rows: pd.DataFrame, checksum: str | None = None
    ) -> None:
        """Written after the shard: their presence says that the shard is whole.

        With them goes the shard's checksum, taken while its bytes are still in memory
        and by the process that wrote it; `finish` would have to read terabytes again.
        """
        about = {"sha256": checksum or sha256(self._shard(slide_id))}
        table = pa.Table.from_pandas(rows, preserve_index=False)
        with atomic_path(self._rows_path(slide_id)) as partial:
            pq.write_table(table.replace_schema_metadata(about), partial)
        if slide_id not in self._order:
            self._order.append(slide_id)

    def _checksum(self, slide_id: str) -> str:
        """Of a shard; a build begun by an earlier version kept none."""
        about = pq.read_metadata(self._rows_path(slide_id)).metadata or {}
        return about.get(b"sha256", b"").decode() or sha256(self._shard(slide_id))

    def adopt(
        self,
        slide_id: str,
        records: Path,
        rows: pd.DataFrame,
        checksum: str | None = None,
    ) -> None:
        """Takes over a whole shard of another study, with its tiles' rows.

        The file is linked where both lie on one file system, else copied.

        Args:
          slide_id: the shard's name; also in the rows' column `shard`.
          records: the ArrayRecord file, made by a StudyWriter.
          rows: a row per record in their order, TILE_COLUMNS and tile-level targets.
          checksum: SHA-256 of `records` where it is known, as in the other study's
            study.json; else it is taken.

        Raises:
          StudyError: the name cannot be a file name.
          OSError: the file cannot be read.
        """
        if not SAFE_NAME.fullmatch(slide_id):
            raise StudyError(f"{slide_id!r} cannot name a shard")
        shard = self._shard(slide_id)
        self._rows_path(slide_id).unlink(missing_ok=True)
        shard.unlink(missing_ok=True)
        try:
            os.link(records, shard)
        except OSError:  # another file system, or one that has no links
            with atomic_path(shard) as partial:
                shutil.copyfile(records, partial)
        self._keep_rows(slide_id, rows, checksum)

    def skip(self, what: str, reason: str) -> None:
        """Notes that `what` is not in the study and why; it stands in study.json."""
        self._skipped.append({"what": what, "reason": reason})

    def finish(
        self,
        *,
        samples: pd.DataFrame,
        targets: list[Target],
        splits: list[Split],
        expression=None,
        reports: pd.DataFrame | None = None,
        slides: pd.DataFrame | None = None,
    ) -> Study:
        """Joins the shards, writes the tables and, last, study.json.

        Args:
          samples: a row per sample, columns SAMPLE_COLUMNS and sample-level targets.
          targets: what the columns mean.
          splits: named folds.
          expression: AnnData whose obs_names are sample ids.
          reports: columns sample_id and text.
          slides: a row per slide, skipped ones too, with `slide_table.SLIDE_COLUMNS`;
            each tiled slide has one shard and each shard is of one slide. `tiles`,
            `first_row` and `shard` are filled in where those columns are absent.

        Raises:
          StudyError: all that is inconsistent, at once.
        """
        if not self._order:
            raise StudyError(
                f"no shard was written to {self.root}: there is nothing to study. "
                f"Skipped: {self._skipped[:5] or 'nothing'}"
            )
        parts = [self._rows_path(one) for one in self._order]
        schema, sizes = schema_of(parts)
        counts = dict(zip(self._order, sizes, strict=True))
        index = IndexCheck(schema.names, sum(sizes), counts, targets)
        shards = {self._shard(one): self._checksum(one) for one in self._order}
        written = [self.root / "tiles.parquet"]
        with atomic_path(written[-1]) as partial:
            join(parts, partial, schema, index.add)
            problems = index.problems(stream(partial, ["tile_id"]))
            problems += inconsistencies(index, samples, targets, splits, expression)
            if slides is not None:
                slides = complete(slides, counts)
                problems += slide_problems(slides, counts, index.owners)
            refuse(str(self._meta["name"]), problems)

        written.append(self.root / "samples.parquet")
        with atomic_path(written[-1]) as partial:
            samples.reset_index(drop=True).to_parquet(partial, index=False)
        if expression is not None:
            written.append(self.root / "expression.h5ad")
            with atomic_path(written[-1]) as partial:
                expression.write_h5ad(partial, compression="gzip")
        if slides is not None:
            written.append(self.root / "slides.parquet")
            with atomic_path(written[-1]) as partial:
                slides.to_parquet(partial, index=False)
        if reports is not None:
            written.append(self.root / "reports.parquet")
            with atomic_path(written[-1]) as partial:
                reports[["sample_id", "text"]].to_parquet(partial, index=False)
        for split in splits:
            entry = dataclasses.asdict(split)
            written.append(self.root / "splits" / f"{entry.pop('name')}.json")
            write_json(written[-1], entry)

        self._meta |= {
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "targets": [dataclasses.asdict(target) for target in targets],
            "shards": [
                {
                    "path": str(self._shard(one).relative_to(self.root)),
                    "tiles": counts[one],
                }
                for one in self._order
            ],
            "skipped": self._skipped,
            "files": {
                str(path.relative_to(self.root)): {
                    "sha256": shards.get(path) or sha256(path),
                    "bytes": path.stat().st_size,
                }
                for path in [*shards, *written]
            },
        }
        write_json(self.root / "study.json", self._meta)
        return Study(self.root)
