"""Stain and scanner: from concentrations to RGB, different at every site.

Light passes through the section by the Beer-Lambert law, I = I0 * exp(-C @ M), with M the
absorption of haematoxylin and eosin in red, green and blue. Sites differ in M, in how
much of each stain they use, in their lamp, focus, noise and JPEG quality, and slides
differ within a site: the confounding of real multi-centre data (Howard et al. 2021,
doi:10.1038/s41467-021-24698-1). Nothing here depends on the tissue.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

# Unit absorption vectors of Ruifrok & Johnston 2001, Anal Quant Cytol Histol 23:291.
HAEMATOXYLIN = (0.650, 0.704, 0.286)
EOSIN = (0.072, 0.990, 0.105)


@dataclasses.dataclass(frozen=True)
class Site:
    """Stain and scanner of a hospital."""

    code: str  # two digits, part of patient ids
    share: float  # fraction of all patients
    haematoxylin: tuple[float, float, float]  # added to the absorption (R, G, B)
    eosin: tuple[float, float, float]
    gain: tuple[float, float]  # factors on the two concentrations
    white: tuple[float, float, float]  # RGB of an empty field
    focus: float  # standard deviation of the blur, µm
    noise: float  # standard deviation of the sensor noise, grey levels
    quality: int  # of the JPEG


SITES = (
    Site("01", 0.23, (0.0, 0.0, 0.0), (0.06, -0.06, 0.25), (1.0, 1.0),
         (244, 243, 245), 0.45, 1.5, 90),
    Site("02", 0.20, (0.06, -0.02, -0.05), (0.03, 0.0, 0.14), (1.15, 0.85),
         (240, 240, 244), 0.55, 2.0, 88),
    Site("03", 0.18, (-0.06, 0.05, 0.06), (0.10, -0.07, 0.36), (0.95, 1.2),
         (247, 243, 243), 0.40, 1.2, 92),
    Site("04", 0.16, (-0.05, 0.06, -0.02), (0.16, -0.08, 0.16), (1.2, 1.15),
         (241, 238, 243), 0.60, 2.5, 85),
    Site("05", 0.13, (0.04, -0.04, 0.03), (0.02, 0.0, 0.30), (0.8, 0.8),
         (248, 248, 247), 0.50, 1.5, 90),
    Site("06", 0.10, (0.0, 0.03, 0.08), (0.15, -0.10, 0.44), (1.05, 1.05),
         (243, 241, 238), 0.45, 1.8, 90),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Scanner:
    """Stain and scanner settings of a slide: a site's with its own deviations.

    `matrix` is the absorption of haematoxylin and eosin by red, green and blue.
    """

    matrix: Float[np.ndarray, "2 3"]
    gain: Float[np.ndarray, "2"]
    white: Float[np.ndarray, "3"]
    focus: float
    noise: float
    quality: int


def sample_scanner(rng: np.random.Generator, site: Site) -> Scanner:
    """Samples the stain and scanner settings of a slide."""
    matrix = np.array([HAEMATOXYLIN, EOSIN]) + [site.haematoxylin, site.eosin]
    matrix = np.clip(matrix + 0.02 * rng.standard_normal((2, 3)), 0.005, None)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    return Scanner(
        matrix=matrix.astype(np.float32),
        gain=(np.array(site.gain) * np.exp(rng.normal(0, 0.09, 2))).astype("f4"),
        white=np.array(site.white, np.float32),
        focus=site.focus * float(np.exp(rng.normal(0, 0.1))),
        noise=site.noise,
        quality=site.quality,
    )


def transmit(
    haematoxylin: Float[np.ndarray, "H W"],
    eosin: Float[np.ndarray, "H W"],
    matrix: Float[np.ndarray, "2 3"],
    white: Float[np.ndarray, "3"],
) -> Float[np.ndarray, "H W 3"]:
    """Intensity by the Beer-Lambert law: white * exp(-C @ matrix).

    Concentrations C are optical densities (natural logarithm) per unit absorption.
    """
    # Channel by channel: a matrix product may round differently with more threads.
    return np.stack(
        [
            white[c] * np.exp(-(haematoxylin * matrix[0, c] + eosin * matrix[1, c]))
            for c in range(3)
        ],
        axis=-1,
    )


def scan(
    haematoxylin: Float[np.ndarray, "N N"],
    eosin: Float[np.ndarray, "N N"],
    scanner: Scanner,
    rng: np.random.Generator,
    *,
    oversampling: int,
    mpp: float,
) -> UInt8[np.ndarray, "H W 3"]:
    """RGB tile of concentration fields drawn `oversampling` times finer."""
    light = transmit(
        haematoxylin * scanner.gain[0],
        eosin * scanner.gain[1],
        scanner.matrix,
        scanner.white,
    )
    # A pixel is the mean light of its drawing pixels; slices are faster than mean().
    corners = [(i, j) for i in range(oversampling) for j in range(oversampling)]
    light = sum(light[i::oversampling, j::oversampling] for i, j in corners)
    light *= np.float32(1 / len(corners))
    sigma = scanner.focus / mpp
    light = gaussian_filter(light, (sigma, sigma, 0), truncate=3.0)
    light += scanner.noise * rng.standard_normal(light.shape, np.float32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)
