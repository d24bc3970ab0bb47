"""The four tumours: their architectures, and how latents change them.

`latents.py` lists the latents; the other tissues are in `tissue.py`.
"""

import numpy as np

from pathjax.datasets.demo.cells import MARGIN_UM, bodies, borders, joined, lattice
from pathjax.datasets.demo.sheet import (
    Cytoplasm,
    Sheet,
    add_epithelium,
    add_red_cells,
    add_stroma,
    clear_of,
    ramp,
    septa,
    tumour_nuclei,
    with_lymphocytes,
    with_mitoses,
)


def glandular_tumour(sheet: Sheet) -> None:
    """Adenocarcinoma: glands of columnar cells round a lumen; solid where poor."""
    patient, canvas, rng = sheet.patient, sheet.canvas, sheet.rng
    add_stroma(sheet, cells=1.2, dense=0.40)
    well = patient.differentiation
    glands = bodies(
        canvas,
        rng,
        radius=25 + 3 * rng.standard_normal(),
        gap=4 + 7 * rng.random(),
        stretch=1.35,
        warp=2.0 + 2.5 * (1 - well),
    )
    depth, owner = glands.depth(canvas)
    height = 15.0
    clear_of(sheet, depth)
    open_lumen = rng.random(len(glands.radius)) < 0.15 + 0.85 * well
    spacing = 6.6 * patient.nuclear_size * (1.06 - 0.08 * patient.chromatin)
    place, angle, _ = glands.ring(canvas, rng, 5.5, spacing, 0.8 + 2.2 * (1 - well))
    rows = [tumour_nuclei(sheet, place, angle, 0.94, 1.55)]
    second, turned, _ = glands.ring(canvas, rng, 11.5, spacing * 2.0, 1.6)
    some = rng.random(len(second)) < 1.0 - well
    rows.append(tumour_nuclei(sheet, second[some], turned[some], 0.94, 1.4))
    fill = lattice(canvas, rng, 8.8 * patient.nuclear_size, 0.2)
    solid = (canvas.at(depth, fill) > height) & ~open_lumen[canvas.at(owner, fill)]
    rows.append(tumour_nuclei(sheet, fill[solid]))
    lumen = np.where(open_lumen[owner], depth - np.float32(height), np.float32(-9))
    cells = with_mitoses(sheet, joined(rows))
    cells = with_lymphocytes(sheet, cells, 0.01 + 0.16 * patient.infiltration**1.5)
    sheet.groups.append(cells)
    secretion = 0.03 + 0.25 * rng.random() ** 3
    look = Cytoplasm(0.42, 0.08, 0.10 + 0.22 * patient.basophilia, secretion)
    add_epithelium(sheet, depth, cells.place, look, lumen)


def squamous_tumour(sheet: Sheet) -> None:
    """Nests of pink polygonal cells with bridges; keratin pearls where well formed."""
    patient, canvas, rng = sheet.patient, sheet.canvas, sheet.rng
    add_stroma(sheet, cells=1.3, dense=0.45)
    nests = bodies(
        canvas,
        rng,
        radius=rng.uniform(30, 46),
        gap=rng.uniform(5, 12),
        stretch=1.3,
        warp=4.5,
        spread=0.2,
    )
    depth, owner = nests.depth(canvas)
    clear_of(sheet, depth)
    pearled = rng.random(len(nests.radius)) < 0.75 * patient.differentiation
    core = (nests.radius - rng.uniform(9, 15)).astype("f4")
    pearl = np.where(pearled[owner], depth - core[owner], np.float32(-9))
    spacing = 10.4 * patient.nuclear_size * (1.04 - 0.08 * patient.chromatin)
    place = lattice(canvas, rng, spacing, 0.17)
    inside = canvas.at(depth, place)
    place = place[(inside > 1.5) & (canvas.at(pearl, place) < -2)]
    basal = canvas.at(depth, place) < 8
    cells = tumour_nuclei(sheet, place, None, 1.0, 1.3, 1.15)
    edge = tumour_nuclei(sheet, place, None, 0.9, 1.4, 1.4)
    cells = with_mitoses(sheet, cells.changed(basal, edge))
    cells = with_lymphocytes(sheet, cells, 0.01 + 0.14 * patient.infiltration**1.5)
    sheet.groups.append(cells)
    look = Cytoplasm(0.55, -0.22, 0.06 + 0.20 * patient.basophilia)
    add_epithelium(sheet, depth, cells.place, look)
    cover = ramp(canvas.smooth(pearl), 3.0)
    if cover.any():
        turn = canvas.smooth(pearl) * np.float32(2 * np.pi / 3.4) + canvas.noise(rng, 9)
        layers = 0.95 + 0.22 * np.sin(turn)
        sheet.eosin += cover * (layers - sheet.eosin)
        sheet.haem *= 1 - cover


def lobular_tumour(sheet: Sheet) -> None:
    """Rows of small, single cells through dense collagen; sheets where poor."""
    patient, canvas, rng = sheet.patient, sheet.canvas, sheet.rng
    add_stroma(sheet, cells=0.5, dense=0.85)
    sheet.groups = [group.take(slice(0, None, 2)) for group in sheet.groups]
    rows_apart = 9.5 + 8.0 * patient.differentiation
    reach = canvas.side * 0.75 + MARGIN_UM
    across = np.arange(-reach, reach, rows_apart)
    along = np.arange(-reach, reach, 8.6 * patient.nuclear_size)
    v, u = (grid.ravel() for grid in np.meshgrid(across, along, indexing="ij"))
    file = np.repeat(np.arange(len(across)), len(along))
    u = u + rng.uniform(0, 9, len(across))[file] + 2.0 * rng.standard_normal(len(u))
    v = v + rng.normal(0, 2.2, len(across))[file] + 1.1 * rng.standard_normal(len(v))
    # Files are broken: runs of cells, then none.
    run = np.sin(u / 9.0 + rng.uniform(0, 6.3, len(across))[file])
    kept = run > -0.25 - 0.6 * (1 - patient.differentiation)
    u, v = u[kept], v[kept]
    sine, cosine = np.sin(sheet.fibres.angle), np.cos(sheet.fibres.angle)
    middle = canvas.side / 2
    place = np.stack([u * sine + v * cosine, u * cosine - v * sine], 1) + middle
    wave = canvas.at(sheet.fibres.wave, place)
    place -= wave[:, None] * np.array([cosine, -sine])
    inside = (place > -MARGIN_UM) & (place < canvas.side + MARGIN_UM)
    place = place[inside.all(axis=1)].astype(np.float32)
    turn = sheet.fibres.angle + 0.25 * rng.standard_normal(len(place))
    cells = with_mitoses(sheet, tumour_nuclei(sheet, place, turn, 1.0, 1.2, 1.3))
    cells = with_lymphocytes(sheet, cells, 0.01 + 0.16 * patient.infiltration**1.5)
    nearest, _, _ = borders(canvas, cells.place)
    depth = np.float32(5.2) - nearest
    clear_of(sheet, depth)
    sheet.groups.append(cells)
    look = Cytoplasm(0.36, 0.05, 0.06 + 0.20 * patient.basophilia)
    add_epithelium(sheet, depth, cells.place, look)


def clear_cell_tumour(sheet: Sheet) -> None:
    """Large cells, empty but for a round nucleus, between thin vessels."""
    patient, canvas, rng = sheet.patient, sheet.canvas, sheet.rng
    add_stroma(sheet, cells=1.8, dense=0.7)
    warp = [canvas.knot_noise(rng, 12.0) * np.float32(3.0) for _ in range(2)]
    alveoli = lattice(canvas, rng, rng.uniform(38, 52), 0.2, margin=50)
    septum = septa(canvas, alveoli, warp)
    depth = septum - np.float32(1.6)
    clear_of(sheet, depth)
    spacing = 13.2 * (1.05 - 0.10 * patient.chromatin)
    place = lattice(canvas, rng, spacing, 0.16)
    place = place[canvas.at(depth, place) > 2.0]
    cells = tumour_nuclei(sheet, place, None, 1.0, 1.1, 1.35)
    cells = with_mitoses(sheet, cells)
    cells = with_lymphocytes(sheet, cells, 0.01 + 0.14 * patient.infiltration**1.5)
    sheet.groups.append(cells)
    granular = 0.05 + 0.22 * (1 - patient.differentiation) ** 2
    look = Cytoplasm(granular, 0.38, 0.01 + 0.11 * patient.basophilia)
    add_epithelium(sheet, depth, place, look)
    add_red_cells(sheet, np.where(depth < -0.2, 3 * canvas.knot_noise(rng, 9), -9))


TUMOURS = (glandular_tumour, squamous_tumour, lobular_tumour, clear_cell_tumour)
