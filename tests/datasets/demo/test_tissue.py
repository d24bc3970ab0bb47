"""Tiles: the right sizes and stains, and pictures that carry the latents."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import label

from pathjax.datasets.demo.canvas import canvas_of
from pathjax.datasets.demo.latents import TISSUES, Stream, sample_patient, stream
from pathjax.datasets.demo.tissue import concentrations, render_tile, sample_tissue


def patients_of(kind, count):
    found = (sample_patient(0, number) for number in range(400))
    return [one for one in found if one.cancer_type == kind][:count]


def fields(patient, tissue, number=0, tile_px=64, mpp=1.0):
    rng = stream(0, Stream.TILE, patient.number, number, 9)
    return concentrations(patient, tissue, canvas_of(tile_px, mpp), rng)


@pytest.mark.parametrize(("tile_px", "mpp"), [(64, 1.0), (96, 0.5), (32, 2.0)])
def test_tiles_of_every_kind(tile_px, mpp):
    for kind in range(4):
        patient = patients_of(kind, 1)[0]
        for number in range(4):
            rgb, tissue = render_tile(patient, number, tile_px=tile_px, mpp=mpp, seed=0)
            assert rgb.shape == (tile_px, tile_px, 3) and rgb.dtype == np.uint8
            assert tissue in TISSUES
            assert rgb.std() > 3


def test_a_tile_depends_on_seed_patient_and_number_alone():
    patient = sample_patient(0, 3)
    tile = {"tile_px": 64, "mpp": 1.0}
    one, _ = render_tile(patient, 2, seed=0, **tile)
    render_tile(sample_patient(0, 4), 0, seed=0, **tile)
    again, _ = render_tile(patient, 2, seed=0, **tile)
    np.testing.assert_array_equal(one, again)
    other, _ = render_tile(patient, 3, seed=0, **tile)
    assert (one != other).any()


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("tissue", TISSUES)
def test_concentrations_are_finite_and_not_negative(kind, tissue):
    for number, patient in enumerate(patients_of(kind, 3)):
        for field in fields(patient, tissue, number):
            assert field.dtype == np.float32
            assert np.isfinite(field).all() and field.min() >= -1e-6


def test_tissues_differ_as_they_should():
    def mean(tissue, stain):
        return np.mean([fields(p, tissue)[stain].mean() for p in patients_of(0, 6)])

    haem = {tissue: mean(tissue, 0) for tissue in TISSUES}
    eosin = {tissue: mean(tissue, 1) for tissue in TISSUES}
    assert haem["lymphocytes"] > haem["tumour"] > haem["stroma"] > haem["adipose"]
    assert eosin["necrosis"] > eosin["tumour"] > eosin["adipose"]
    assert eosin["stroma"] > eosin["lymphocytes"]


def test_clear_cells_are_clearer_than_squamous_ones():
    clear = np.mean([fields(p, "tumour")[1].mean() for p in patients_of(3, 6)])
    squamous = np.mean([fields(p, "tumour")[1].mean() for p in patients_of(1, 6)])
    assert clear < 0.6 * squamous


@pytest.mark.parametrize("mpp", [0.5, 1.0])
def test_lymphocytes_are_six_micrometres_at_any_scale(mpp):
    areas = []
    for patient in patients_of(2, 8):
        haem, _ = fields(patient, "lymphocytes", tile_px=int(96 / mpp), mpp=mpp)
        spots, _ = label(haem > 0.8)
        sizes = np.bincount(spots.ravel())[1:] * canvas_of(64, mpp).step ** 2
        areas += sizes[sizes > 12].tolist()
    diameter = 2 * np.sqrt(np.median(areas) / np.pi)
    assert 5.0 < diameter < 9.0  # touching nuclei count as one


def haem_summary(change, statistic):
    values = []
    for patient in patients_of(1, 16):
        haem, eosin = fields(dataclasses.replace(patient, **change), "tumour")
        values.append(statistic(haem, eosin))
    return np.array(values)


@pytest.mark.parametrize(
    ("low", "high", "statistic"),
    [
        # nuclear size: more of the tile is nucleus
        ({"nuclear_size": 0.9}, {"nuclear_size": 1.3}, lambda h, e: _blob(h)),
        # coarse chromatin: rougher nuclei
        ({"chromatin": 0.1}, {"chromatin": 0.9}, lambda h, e: _rough(h)),
        # basophilia: bluer cytoplasm
        (
            {"basophilia": 0.0},
            {"basophilia": 1.0},
            lambda h, e: np.quantile(h, 0.3),
        ),
        # lymphocytes: small dark nuclei
        (
            {"infiltration": 0.0},
            {"infiltration": 0.9},
            lambda h, e: (h > 1.7).mean(),
        ),
    ],
    ids=["nuclear_size", "chromatin", "basophilia", "infiltration"],
)
def test_latents_show_in_tiles(low, high, statistic):
    step = haem_summary(high, statistic) - haem_summary(low, statistic)
    assert step.mean() > 3 * step.std() / np.sqrt(len(step))


def _blob(haem):
    spots, _ = label(haem > 0.45)
    return np.bincount(spots.ravel())[1:].mean()


def _rough(haem):
    inside = haem > 0.4
    return np.abs(np.diff(haem, axis=1))[inside[:, 1:]].mean()


def test_composition_decides_the_tissues():
    patient = sample_patient(0, 0)
    drawn = [sample_tissue(patient, number, 0) for number in range(3000)]
    parts = [drawn.count(tissue) / 3000 for tissue in TISSUES]
    errors = np.sqrt(np.array(patient.composition) / 3000)
    assert (np.abs(np.array(parts) - patient.composition) < 5 * errors).all()
