"""How alike a slide and the same slide tiled anew look, and how alike others do.

    python tests/slide_copies.py DATA [--more PATIENT=FILE ...] [--out copies.json]

DATA is the folder of real data that tests read (CONTRIBUTING.md), `--more` adds pictures
of sections. A section's quarters are slides too. Each is tiled as `pathjax tile` would,
then in all ways of CHANGES; its looks are compared with those of the first tiling, and
all slides with each other, in all tilings. Prints a table in Markdown.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from pathjax.data.duplicates import shrink, turned
from pathjax.data.thumbnails import NEAR, looks, thumbnail
from pathjax.wsi.grid import tissue_share
from pathjax.wsi.slide import open_slide
from pathjax.wsi.tissue import find_tissue

Image.MAX_IMAGE_PIXELS = None
LONGEST, MPP = (
    2000,
    4.0,
)  # pixels of a section's longer side; about what one of 8 mm has
# `size` and `step` are in tiles of the first tiling, `shift` in its own.
CHANGES: dict[str, dict] = {
    "shifted by half a tile": {"shift": (0.5, 0.5)},
    "tiles 1.4 times as wide": {"size": 1.43},
    "tiles twice as wide": {"size": 2.0},
    "tiles 0.7 times as wide": {"size": 0.7},
    "shifted, JPEG of quality 30": {"shift": (0.5, 0.25), "quality": 30},
    "shifted, half the resolution": {"shift": (0.25, 0.5), "reduce": 2},
    "shifted, turned and mirrored": {"shift": (0.33, 0.25), "turn": True},
    "shifted, other stain": {"shift": (0.5, 0.33), "gamma": (1.4, 0.8, 1.1)},
    "overlap of half": {"step": 0.5},
    "gaps, as between spots": {"size": 0.6, "step": 1.0, "shift": (0.4, 0.4)},
    "85 % of tissue asked for": {"shift": (0.5, 0.5), "share": 0.85},
    "15 % of tissue asked for": {"shift": (0.5, 0.5), "share": 0.15},
    "the other rule for tissue": {"shift": (0.5, 0.5), "rule": "saturation"},
    "glass too": {"shift": (0.5, 0.33), "share": 0.0},
    "half of the tiles at random": {"shift": (0.5, 0.5), "keep": 0.5},
    "a tenth of the tiles at random": {"shift": (0.5, 0.5), "keep": 0.1},
}


def cut(image, side, *, size=1.0, step=None, shift=(0.0, 0.0), share=0.5, rule="otsu",
        quality=90, reduce=1, turn=False, gamma=None, keep=1.0):  # fmt: skip
    """Corners `[n, 2]` and shrunk grey tiles `[n, 9, 9]` of a slide."""
    if turn:
        image = np.ascontiguousarray(np.rot90(image)[:, ::-1])
    own = round(side * size)
    gap = round(side * (step or size))
    left, top = (round(part * own) for part in shift)
    x = np.arange(left, image.shape[1] - own + 1, gap)
    y = np.arange(top, image.shape[0] - own + 1, gap)
    xy = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    if share:
        xy = xy[tissue_share(find_tissue(image, MPP, rule), 1.0, xy, own) >= share]
    xy = xy[np.random.default_rng(0).random(len(xy)) < keep]
    grey = np.zeros((len(xy), 9, 9), np.float32)
    for row, (left, top) in enumerate(xy.tolist()):
        tile = image[top : top + own, left : left + own]
        if gamma:
            tile = (255 * (tile / 255) ** np.array(gamma)).astype(np.uint8)
        small = Image.fromarray(tile).reduce(reduce)
        with io.BytesIO() as file:
            small.save(file, "JPEG", quality=quality)
            grey[row] = shrink(np.asarray(Image.open(file))).mean(axis=-1)
    return xy.astype(float), grey


def read(path: Path) -> np.ndarray:
    """A section at LONGEST; black around it becomes glass."""
    if path.suffix == ".svs":
        slide = open_slide(path)
        level = slide.levels[-1]
        pixels = slide.read(0, 0, len(slide.levels) - 1, level.width, level.height)
        image = Image.fromarray(pixels)
    else:
        image = Image.open(path).convert("RGB")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
    pixels = np.array(image)
    pixels[pixels.max(axis=-1) < 40] = 245
    return pixels


def sections(data: Path, more: list[str]) -> dict[tuple[str, str], np.ndarray]:
    """(patient, name) to pixels."""
    files = [(path.parts[-3], path) for path in data.glob("her2st/data/ST-imgs/*/*/*")]
    files += [("A", path) for path in data.glob("her2st/app/www/imgs/A1*")]
    files += [("mouse bulb", path) for path in data.glob("mob_mouse/*.jpg")]
    files += [(path.stem, path) for path in data.glob("wsi/*.svs")]
    files += [(path.stem, path) for path in data.glob("spatial_formats/hest*/image/*")]
    files += [(name, Path(path)) for name, path in (text.split("=") for text in more)]
    return {(who, path.stem): read(path) for who, path in sorted(files)}


def tail(values: np.ndarray) -> float:
    """Share expected above NEAR, by an exponential tail above the 99th percentile."""
    start = np.quantile(values, 0.99)
    return 0.01 * np.exp(-(NEAR - start) / (values[values > start] - start).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--more", nargs="+", default=[], metavar="PATIENT=FILE")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    slides: list[tuple[str, str, str, np.ndarray, int]] = []
    for (who, name), image in sections(args.data, args.more).items():
        slides.append(("section", who, name, image, min(image.shape[:2]) // 40))
        h, w = (length // 2 for length in image.shape[:2])
        for i in range(4):
            part = image[i // 2 * h : (i // 2 + 1) * h, i % 2 * w : (i % 2 + 1) * w]
            slides.append(("quarter", who, f"{name} {i}", part, min(h, w) // 24))
    for path in sorted(args.data.glob("monuseg/train/*.jpg")):
        image = np.asarray(Image.open(path).convert("RGB"))
        slides.append(("field", path.stem, path.stem, image, image.shape[0] // 8))
    rows, all_looks = [], []
    for kind, who, name, image, side in slides:
        for change, options in {"first": {}, **CHANGES}.items():
            if kind == "field":
                options = {"share": 0.0, **options} | {"share": 0.0}
            xy, grey = cut(image, side, **options)
            made = thumbnail(xy, grey) if len(xy) else np.full((17, 17), np.nan)
            if np.isfinite(made).any():
                rows.append((kind, who, name, change, len(xy)))
                all_looks.append([looks(one)[0] for one in turned(made[None])])
        print(f"{kind} {name}: {len(all_looks)}", flush=True)
    report(np.array(rows, object), np.array(all_looks), args.out)


def report(rows: np.ndarray, each: np.ndarray, out: Path | None) -> None:
    kind, who, name, change, _ = rows.T
    cosine = np.max([turn @ each[:, 0].T for turn in each.swapaxes(0, 1)], axis=0)
    first = {name[i]: i for i in np.flatnonzero(change == "first")}
    result: dict = {"slides": len(set(name)), "tilings": len(rows)}
    print("| copy | sections | quarters | fields |\n|---|---|---|---|")
    for text in CHANGES:
        cells = []
        for what in ("section", "quarter", "field"):
            here = np.flatnonzero((kind == what) & (change == text))
            found = [cosine[first[name[i]], i] for i in here if name[i] in first]
            near = int((np.array(found) >= NEAR).sum())
            cell = f"{near} of {len(found)}"
            cells.append(f"{cell} ({np.median(found):.2f})" if found else "-")
        result[text] = cells
        print(f"| {text} | {' | '.join(cells)} |")

    def pairs_of(rows_of: np.ndarray) -> np.ndarray:
        return np.triu(rows_of[:, None] & rows_of, 1)

    person = who[:, None] == who
    others = person & (name[:, None] != name) & pairs_of(kind == "section")
    for text, pairs in (
        ("different patients", ~person & pairs_of(change != "")),
        ("the same, without glass", ~person & pairs_of(change != "glass too")),
        ("other sections of a patient", others),
    ):
        values = cosine[pairs]
        result[text] = {
            "pairs of tilings": len(values),
            "pairs of slides": int((pairs & pairs_of(change == "first")).sum()),
            "quantiles .5 .99 .9999 1": np.quantile(values, [0.5, 0.99, 0.9999, 1])
            .round(3)
            .tolist(),
            "found": int((values >= NEAR).sum()),
            "expected in a million": float(f"{1e6 * tail(values):.2g}"),
        }
        print(text, result[text])
    for i, j in np.argwhere(others & pairs_of(change == "first")):
        print(f"{name[i]} and {name[j]}, both of {who[i]}: {cosine[i, j]:.2f}")
    if out:
        out.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
