"""Parts of a tile: collagen, cytoplasm, mucin, red cells, and kinds of nuclei.

The recipes of `tumours.py` and `tissue.py` combine them. Sizes are in µm and follow
ordinary histology: lymphocyte nuclei 6 to 7, tumour nuclei 7 to 11.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from pathjax.datasets.demo.canvas import Canvas, Fibres, Points, Surface
from pathjax.datasets.demo.cells import Knots, Look, Nuclei, borders, lattice, nuclei
from pathjax.datasets.demo.latents import Patient

TUMOUR_DIAMETER_UM = (8.6, 8.8, 7.6, 7.2)  # mean nucleus by cancer type
LYMPHOCYTE = Look(6.2, 0.07, 1.12, 1.9, vesicle=0.05, chromatin=0.22, outline=0.03)
SPINDLE = Look(5.4, 0.15, 3.4, 1.35, vesicle=0.1, outline=0.05)
# Mitoses and apoptoses: dark, dense, ragged.
MITOSIS = Look(6.4, 0.15, 2.2, 2.6, vesicle=0.0, chromatin=0.15, outline=0.3)


@dataclasses.dataclass
class Sheet:
    """A tile being drawn: two concentrations `[N, N]` and groups of nuclei."""

    canvas: Canvas
    rng: np.random.Generator
    patient: Patient
    fibres: Fibres
    eosin: Surface
    haem: Surface
    groups: list[Nuclei] = dataclasses.field(default_factory=list)

    def blend(self, cover: Surface, eosin: Surface | float, haem: Surface | float):
        """Replaces both concentrations where `cover` is 1, in part where below."""
        self.eosin += cover * (eosin - self.eosin)
        self.haem += cover * (haem - self.haem)

    def erase(self, cover: Surface) -> None:
        """Removes both concentrations where `cover` is 1: a hole."""
        self.eosin *= 1 - cover
        self.haem *= 1 - cover


def ramp(field: np.ndarray, width: float) -> np.ndarray:
    """0 below -width/2, 1 above width/2, linear between: a soft edge in µm."""
    return np.clip(field / np.float32(width) + np.float32(0.5), 0, 1)


def tumour_nuclei(
    sheet: Sheet, place: Points, angle=None, scale=1.0, elongation=1.25, haem=1.25
) -> Nuclei:
    """Nuclei with the patient's size, pleomorphism, chromatin and nucleoli."""
    patient = sheet.patient
    look = Look(
        diameter=TUMOUR_DIAMETER_UM[patient.cancer_type] * patient.nuclear_size * scale,
        spread=0.05 + 0.22 * patient.pleomorphism,
        elongation=elongation + 0.25 * patient.pleomorphism,
        haem=haem,
        vesicle=0.15 + 0.55 * patient.chromatin,
        chromatin=0.08 + 0.34 * patient.chromatin,
        nucleolus=1.4 * max(patient.pleomorphism - 0.2, 0),
        outline=0.03 + 0.14 * patient.pleomorphism,
    )
    return nuclei(sheet.rng, place, look, angle)


def spindles(sheet: Sheet, place: Points) -> Nuclei:
    """Thin nuclei of fibroblasts and vessels along the fibres."""
    turn = 0.2 * sheet.rng.standard_normal(len(place))
    return nuclei(sheet.rng, place, SPINDLE, sheet.fibres.angle + turn)


def with_mitoses(sheet: Sheet, cells: Nuclei) -> Nuclei:
    """Turns a few tumour nuclei into mitoses and apoptoses."""
    rate = 0.002 + 0.045 * sheet.patient.proliferation**2
    return with_some(sheet, cells, rate, MITOSIS)


def with_lymphocytes(sheet: Sheet, cells: Nuclei, part: float) -> Nuclei:
    """Replaces a fraction of the nuclei by lymphocytes."""
    return with_some(sheet, cells, part, LYMPHOCYTE)


def with_some(sheet: Sheet, cells: Nuclei, part: float, look: Look) -> Nuclei:
    """Gives a fraction of the nuclei another look."""
    chosen = sheet.rng.random(len(cells)) < part
    return cells.changed(chosen, nuclei(sheet.rng, cells.place, look))


def add_stroma(sheet: Sheet, *, cells: float = 1.0, dense: float = 0.5) -> None:
    """Fills the sheet with collagen, fibroblasts and scattered lymphocytes.

    `cells` is the density of fibroblasts, 1 is ordinary; `dense` goes from 0 for loose,
    pale stroma to 1 for dense collagen.
    """
    canvas, rng = sheet.canvas, sheet.rng
    fine = sheet.fibres.texture(canvas, rng, 15.0, 1.7)
    coarse = sheet.fibres.texture(canvas, rng, 34.0, 6.0)
    level = 0.26 + 0.32 * dense
    eosin = level * (1 + 0.20 * fine + 0.18 * coarse + 0.07 * canvas.noise(rng, 1.2))
    cleft = np.clip((-1.35 - 0.5 * dense - coarse - 0.4 * fine) * 2.0, 0, 1)
    sheet.eosin[...] = np.clip(eosin * (1 - 0.9 * cleft), 0.02, None)
    sheet.haem[...] = np.clip(0.05 + 0.03 * fine, 0, None)
    place = lattice(canvas, rng, 15.0, 0.33)
    place = place[rng.random(len(place)) < 0.62 * cells]
    few = 0.10 + 0.5 * sheet.patient.infiltration**1.5
    sheet.groups.append(with_lymphocytes(sheet, spindles(sheet, place), few))


def clear_of(sheet: Sheet, inside: Knots) -> None:
    """Drops stromal nuclei where `inside` (µm) is above 0: tissue covers them."""
    sheet.groups = [
        group.take(sheet.canvas.at(inside, group.place) < 1.0) for group in sheet.groups
    ]


class Cytoplasm(NamedTuple):
    """Stain of the cells of an epithelium."""

    eosin: float
    membrane: float  # added along borders between cells; negative for pale clefts
    basophilia: float  # haematoxylin
    secretion: float = 0.0  # eosin in the lumen


def add_epithelium(
    sheet: Sheet,
    depth: Knots,
    centres: Points,
    look: Cytoplasm,
    lumen: Knots | None = None,
) -> None:
    """Covers the stroma with cytoplasm where `depth` (µm inside) is positive.

    Cells are the Voronoi cells of `centres`, their nuclei; `lumen` is µm inside a lumen.
    """
    canvas, rng = sheet.canvas, sheet.rng
    _, gap, owner = borders(canvas, centres)
    tone = np.exp(0.10 * rng.standard_normal(max(len(centres), 1))).astype("f4")[owner]
    border = np.clip(1 - gap / np.float32(1.8), 0, 1)
    cover = ramp(canvas.smooth(depth), 1.6)
    grain = 1 + 0.10 * canvas.noise(rng, 1.3) + 0.07 * canvas.noise(rng, 5.0)
    cytoplasm = canvas.smooth(look.eosin * tone + look.membrane * border) * grain
    # Retraction: a pale gap between nests and stroma in places.
    pale = canvas.smooth(np.clip(1 - np.abs(depth + 1.2) / 1.6, 0, 1))
    sheet.eosin *= (1 - cover) * (1 - 0.55 * pale)
    sheet.eosin += cover * np.clip(cytoplasm, 0.02, None)
    sheet.haem *= 1 - cover
    sheet.haem += cover * (look.basophilia * (1 + 0.5 * (grain - 1)))
    if lumen is not None:
        empty = ramp(canvas.smooth(lumen), 1.8)
        sheet.eosin *= 1 - empty
        drops = np.clip(1 + canvas.noise(rng, 4.0), 0, None)
        sheet.eosin += empty * look.secretion * drops
        sheet.haem *= 1 - empty


def add_mucin(sheet: Sheet, amount: float) -> None:
    """Pools of pale blue, stringy mucin that push tissue aside."""
    canvas, rng = sheet.canvas, sheet.rng
    pool = canvas.knot_noise(rng, 16.0) - np.float32(2.0 - 1.9 * amount)
    cover = ramp(canvas.smooth(pool * 8), 2.5)
    if not cover.any():
        return
    strings = np.abs(sheet.fibres.texture(canvas, rng, 20.0, 3.0))
    sheet.blend(cover, 0.03, np.clip(0.20 - 0.12 * strings, 0.04, None))
    clear_of(sheet, pool * 8)


def septa(canvas: Canvas, points: Points, warp: list[Knots]) -> Knots:
    """Distance in µm from the bent borders between the points' Voronoi cells."""
    y, x = canvas.knots
    dy = (y + warp[0])[:, :, None] - points[:, 0]
    dx = (x + warp[1])[:, :, None] - points[:, 1]
    far = np.sqrt(np.partition(dy * dy + dx * dx, 1, axis=2)[:, :, :2])
    return 0.5 * (far[:, :, 1] - far[:, :, 0])


def add_red_cells(sheet: Sheet, inside: Knots) -> None:
    """Red blood cells where `inside` is positive: eosin without a nucleus."""
    canvas = sheet.canvas
    cover = ramp(canvas.smooth(inside.astype(np.float32)), 2.0)
    sheet.eosin += cover * (1.05 - sheet.eosin)
    sheet.haem *= 1 - cover
