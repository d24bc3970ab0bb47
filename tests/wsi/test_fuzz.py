"""400 damaged slides: tiled or skipped with a reason, no crash, no hang, nothing partial.

Each damaged file goes through the whole of `tile_slide` in a process of its own pool,
because OpenSlide and the codecs are native code, whose crash ends the process.
"""

import concurrent.futures
import multiprocessing

import numpy as np
import pytest
from extras import extra
from made_slides import slide, write_tiff
from PIL import Image
from slide_work import tile_damaged

tifffile = extra("tifffile")
PER_KIND = 100


def wholes(folder, real_data):
    """Bytes of whole files by ending, and where their headers are."""
    pixels = slide(300, 400)
    plain = write_tiff(folder / "a.tif", pixels, 0.5, levels=(2,))
    strips = write_tiff(folder / "b.tif", pixels, 0.5, tile=None, rowsperstrip=16)
    picture = folder / "c.jpg"
    Image.fromarray(pixels).save(picture)
    yield ".svs", (real_data / "wsi" / "CMU-1-Small-Region.svs").read_bytes()
    yield ".tiff", plain.read_bytes()
    yield ".tif", strips.read_bytes()
    yield ".jpg", picture.read_bytes()


def headers(path):
    """Ranges of bytes where a file says what it holds."""
    if path.suffix == ".jpg":
        return [(0, 700)]
    with tifffile.TiffFile(path) as file:
        tags = [(page.offset, page.offset + 300) for page in file.pages]
        texts = [
            (tag.valueoffset, tag.valueoffset + min(tag.count, 400))
            for page in file.pages
            for tag in page.tags
            if tag.name in ("ImageDescription", "JPEGTables", "TileOffsets")
        ]
    return [(0, 16), *tags, *texts]


def damaged(whole, ranges, rng):
    """Some bytes changed, most of them in headers; or a piece lost."""
    data = bytearray(whole)
    for _ in range(rng.integers(1, 12)):
        start, end = ranges[rng.integers(len(ranges))]
        if rng.random() < 0.1:
            start, end = 0, len(data)
        at = int(rng.integers(start, min(end, len(data))))
        data[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)]))
    if rng.random() < 0.15:
        at = int(rng.integers(len(data)))
        del data[at : at + int(rng.integers(1, 5000))]
    return bytes(data)


@pytest.mark.slow
def test_400_damaged_slides(tmp_path, real_data):
    rng, jobs = np.random.default_rng(0), []
    (tmp_path / "whole").mkdir()
    for ending, whole in wholes(tmp_path / "whole", real_data):
        original = tmp_path / "whole" / f"original{ending}"
        original.write_bytes(whole)
        ranges = headers(original)
        for k in range(PER_KIND):
            path = tmp_path / f"{ending[1:]}-{k:03d}{ending}"
            path.write_bytes(damaged(whole, ranges, rng))
            # Half with their mpp given, or a damaged mpp hides all that comes after.
            given = 0.5 if k % 2 or ending == ".jpg" else None
            jobs.append((path, str(tmp_path / "study"), given))
    # spawn: this process has threads. An executor whose process dies says so.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        futures = {pool.submit(tile_damaged, *job): job[0] for job in jobs}
        done, hanging = concurrent.futures.wait(futures, timeout=50)
        assert not hanging, [futures[one] for one in hanging]
        found = {futures[one].name: one.result() for one in done}
    wrong = {name: report for name, (report, fits) in found.items() if not fits}
    assert not wrong
    skipped = {n: r.reason for n, (r, _) in found.items() if r.status == "skipped"}
    assert not {n: text for n, text in skipped.items() if "unexpected" in text}
    assert len(found) == 4 * PER_KIND and 100 < len(skipped) < 390
    assert not [*(tmp_path / "study").rglob(".partial-*")]
