"""The other tissues, and one tile of a patient: layout, nuclei, stain, scan.

A recipe lays out concentrations of haematoxylin and eosin and the nuclei; `render_tile`
draws them.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from pathjax.datasets.demo.canvas import Canvas, canvas_of, fibres
from pathjax.datasets.demo.cells import (
    Bodies,
    Look,
    bodies,
    borders,
    draw_nuclei,
    joined,
    lattice,
    nuclei,
)
from pathjax.datasets.demo.latents import TISSUES, Patient, Stream, stream
from pathjax.datasets.demo.sheet import (
    LYMPHOCYTE,
    Cytoplasm,
    Sheet,
    add_epithelium,
    add_mucin,
    add_red_cells,
    add_stroma,
    clear_of,
    ramp,
    septa,
    spindles,
)
from pathjax.datasets.demo.stain import SITES, sample_scanner, scan
from pathjax.datasets.demo.tumours import TUMOURS

BLAST = Look(8.0, 0.1, 1.2, 1.2, vesicle=0.45, nucleolus=0.4)
GHOST = Look(7.5, 0.2, 1.3, 0.28)
DUST = Look(3.0, 0.45, 1.5, 1.7, vesicle=0.0, outline=0.25)


class Organ(NamedTuple):
    """Normal tissue of an organ: glands of one size, their cells and cytoplasm.

    Lengths in µm: `height` of the cells, `depth` of their nuclei below the outline and
    `spacing` along it.
    """

    radius: float
    gap: float
    height: float
    depth: float
    spacing: float
    nucleus: Look
    eosin: float
    membrane: float


ORGANS = (  # by cancer type
    Organ(27.0, 8.0, 17.0, 4.5, 6.0, Look(6.8, 0.05, 1.5, 1.3, 0.15, 0.12), 0.34, 0.06),
    Organ(62.0, 2.0, 99.0, 0.0, 0.0, Look(7.0, 0.06, 1.25, 1.3, 0.2, 0.12), 0.46, -0.12),
    Organ(14.0, 9.0, 9.0, 4.2, 6.4, Look(6.4, 0.05, 1.2, 1.3, 0.15, 0.12), 0.34, 0.04),
    Organ(19.0, 3.0, 13.0, 6.0, 9.5, Look(6.8, 0.05, 1.05, 1.3, 0.15, 0.12), 0.66, 0.06),
)  # fmt: skip
CRYPTS, LAYERED = 0, 1  # indices of ORGANS: goblet cells, stratified epithelium


def stroma(sheet: Sheet) -> None:
    """Collagen with fibroblasts and occasional vessels."""
    rng = sheet.rng
    add_stroma(sheet, cells=rng.uniform(0.6, 1.4), dense=rng.uniform(0.3, 0.95))
    if rng.random() < 0.35:
        add_vessel(sheet, rng.uniform(6, 13))


def add_vessel(sheet: Sheet, radius: float) -> None:
    """A small vessel: flat nuclei round a lumen with red cells."""
    canvas, rng = sheet.canvas, sheet.rng
    centre = rng.uniform(0.15, 0.85, (1, 2)) * canvas.side
    vessel = Bodies(
        centre=centre.astype("f4"),
        radius=np.array([radius], np.float32),
        stretch=rng.uniform(1, 1.3, 1).astype("f4"),
        angle=rng.uniform(0, np.pi, 1).astype("f4"),
        warp=tuple(canvas.knot_noise(rng, 14.0) * np.float32(1.5) for _ in range(2)),
    )
    depth, _ = vessel.depth(canvas)
    clear_of(sheet, depth + 1)
    place, angle, _ = vessel.ring(canvas, rng, 0.8, 9.0, 0.2)
    lining = spindles(sheet, place)
    sheet.groups.append(
        dataclasses.replace(lining, angle=(angle + np.pi / 2).astype("f4"))
    )
    sheet.erase(ramp(canvas.smooth(depth - np.float32(1.8)), 1.2))
    red = canvas.knot_noise(rng, 3.2) * 2 + rng.uniform(-1.5, 2.5)
    add_red_cells(sheet, np.minimum(depth - np.float32(3.0), red))


def lymphoid(sheet: Sheet) -> None:
    """A dense infiltrate of lymphocytes with a few larger cells."""
    canvas, rng = sheet.canvas, sheet.rng
    add_stroma(sheet, cells=0.5, dense=0.2)
    place = lattice(canvas, rng, rng.uniform(6.6, 7.8), 0.17)
    thin = canvas.knot_noise(rng, 18.0)
    place = place[canvas.at(thin, place) > -1.3 + 0.5 * rng.standard_normal(len(place))]
    cells = nuclei(rng, place, LYMPHOCYTE)
    large = nuclei(rng, place, BLAST)
    cells = cells.changed(rng.random(len(place)) < 0.08, large)
    nearest, _, _ = borders(canvas, place)
    clear_of(sheet, 6 - nearest)
    sheet.groups.append(cells)
    cover = ramp(canvas.smooth(np.float32(4.6) - nearest), 2.0)
    sheet.blend(cover, 0.22, 0.12)


def adipose(sheet: Sheet) -> None:
    """Fat: empty vacuoles with thin walls and a few nuclei."""
    canvas, rng = sheet.canvas, sheet.rng
    add_stroma(sheet, cells=0.6, dense=0.4)
    warp = [canvas.knot_noise(rng, 20.0) * np.float32(3.0) for _ in range(2)]
    points = lattice(canvas, rng, rng.uniform(44, 64), 0.17, margin=70)
    wall = septa(canvas, points, warp)
    septum = canvas.knot_noise(rng, 30.0) * 4 - rng.uniform(1.5, 7)
    inside = np.minimum(wall - rng.uniform(0.7, 1.3), np.float32(-septum) + wall * 0.3)
    inside = inside.astype(np.float32)
    clear_of(sheet, inside + 0.3)
    empty = ramp(canvas.smooth(inside), 1.1)
    thin = ramp(canvas.smooth(2.5 - wall), 2.0)
    sheet.eosin += thin * (0.42 - sheet.eosin)
    sheet.erase(empty)


def normal(sheet: Sheet) -> None:
    """Well-ordered tissue of the organ: crypts, layers, lobules or tubules."""
    kind, canvas, rng = sheet.patient.cancer_type, sheet.canvas, sheet.rng
    organ = ORGANS[kind]
    add_stroma(sheet, cells=1.2, dense=0.25)
    radius = organ.radius * rng.uniform(0.92, 1.1)
    glands = bodies(
        canvas, rng, radius=radius, gap=organ.gap, stretch=1.15, warp=1.6, spread=0.08
    )
    depth, _ = glands.depth(canvas)
    clear_of(sheet, depth)
    if kind == LAYERED:  # crowded basal cells, flatter and paler upwards
        place = lattice(canvas, rng, 8.2, 0.16)
        inside = canvas.at(depth, place)
        keep = (inside > 2) & (rng.random(len(place)) < 1.25 - inside / 60)
        place = place[keep]
        angle = rng.uniform(0, np.pi, len(place))
    else:
        place, angle, _ = glands.ring(canvas, rng, organ.depth, organ.spacing, 0.35)
    cells = nuclei(rng, place, organ.nucleus, angle)
    sheet.groups.append(cells)
    look = Cytoplasm(organ.eosin, organ.membrane, 0.12, secretion=0.04)
    add_epithelium(sheet, depth, cells.place, look, depth - np.float32(organ.height))
    if kind == CRYPTS:  # goblet cells: pale drops between nucleus and lumen
        drops, _, _ = glands.ring(canvas, rng, 12.0, 8.0, 0.8)
        drops = drops[rng.random(len(drops)) < 0.75]
        nearest, _, _ = borders(canvas, drops)
        sheet.blend(ramp(canvas.smooth(np.float32(3.3) - nearest), 1.4), 0.06, 0.12)


def necrosis(sheet: Sheet) -> None:
    """Dead tissue: granular pink, ghosts of cells, dust of nuclei."""
    canvas, rng = sheet.canvas, sheet.rng
    coarse, fine = canvas.noise(rng, 8.0), canvas.noise(rng, 1.6)
    patchy = canvas.noise(rng, 3.5)
    sheet.eosin[...] = np.clip(
        0.62 + 0.10 * coarse + 0.14 * fine + 0.1 * patchy, 0, None
    )
    hole = np.clip((canvas.noise(rng, 4.0) - 1.5) * 3, 0, 1)
    sheet.eosin *= 1 - 0.8 * hole
    sheet.haem[...] = np.clip(0.06 + 0.05 * coarse, 0, None)
    ghosts = lattice(canvas, rng, 12.0, 0.3)
    ghosts = ghosts[rng.random(len(ghosts)) < 0.45]
    dust = lattice(canvas, rng, 9.0, 0.4)
    dust = dust[rng.random(len(dust)) < rng.uniform(0.1, 0.4)]
    sheet.groups += [nuclei(rng, ghosts, GHOST), nuclei(rng, dust, DUST)]


RECIPES = {
    "stroma": stroma,
    "lymphocytes": lymphoid,
    "adipose": adipose,
    "normal": normal,
    "necrosis": necrosis,
}


def sample_tissue(patient: Patient, tile: int, seed: int) -> str:
    """Samples the tissue class of a tile from the patient's composition."""
    rng = stream(seed, Stream.TILE, patient.number, tile, 0)
    return TISSUES[int(rng.choice(len(TISSUES), p=patient.composition))]


def concentrations(
    patient: Patient, tissue: str, canvas: Canvas, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "N N"], Float[np.ndarray, "N N"]]:
    """Haematoxylin and eosin of one tile, on the canvas' drawing pixels."""
    blank = np.zeros((2, canvas.n, canvas.n), np.float32)
    direction = fibres(canvas, rng, rng.uniform(1.5, 4.5))
    sheet = Sheet(canvas, rng, patient, direction, blank[0], blank[1])
    if tissue == "tumour":
        TUMOURS[patient.cancer_type](sheet)
        if rng.random() < 0.7 * patient.mucin:
            add_mucin(sheet, patient.mucin)
    else:
        RECIPES[tissue](sheet)
    haem, cover = draw_nuclei(canvas, rng, joined(sheet.groups))
    eosin = sheet.eosin * (1 - 0.40 * cover)
    haem += sheet.haem * (1 - cover)
    thickness = 1 + np.float32(0.05) * canvas.noise(rng, 40.0)
    return haem * thickness, eosin * thickness


def render_tile(
    patient: Patient, tile: int, *, tile_px: int, mpp: float, seed: int
) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
    """Draws one tile: RGB, and its tissue class; depends on (seed, patient, tile)."""
    canvas = canvas_of(tile_px, mpp)
    tissue = sample_tissue(patient, tile, seed)
    rng = stream(seed, Stream.TILE, patient.number, tile, 1)
    haem, eosin = concentrations(patient, tissue, canvas, rng)
    scanner = sample_scanner(
        stream(seed, Stream.SLIDE, patient.number), SITES[patient.site]
    )
    rgb = scan(haem, eosin, scanner, rng, oversampling=canvas.oversampling, mpp=mpp)
    return rgb, tissue
