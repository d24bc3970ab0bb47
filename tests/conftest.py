"""Settings that must hold before JAX starts, and the folder of real data."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of small real sets; tests that need it skip where it is absent."""
    folder = Path(
        os.environ.get("PATHJAX_TEST_DATA", REPOSITORY.parent / "shared" / "data")
    )
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set PATHJAX_TEST_DATA to its folder")
    return folder
