"""Settings that must hold before JAX starts, and the folder of real data."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the time of a test is compilation, and nothing here is timed.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
)

import jax  # the platform has to be chosen first
from tiny_study import build_tiny_study

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_xdist_auto_num_workers(config):
    """No workers for a single file or test: they take longer to start than it runs."""
    files = {arg.partition("::")[0] for arg in config.args}
    single = len(files) == 1 and all(file.endswith(".py") for file in files)
    return 0 if single else None


def pytest_make_parametrize_id(val, argname):
    """Bytes are no part of a test's name.

    Those of an archive hold the time, and workers have to collect the same names.
    """
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items):
    """The longest file goes first: the last one is waited for by all other cores."""
    items.sort(key=lambda item: item.path.name != "test_readme_demo.py")


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Programs that several tests compile are compiled once a session."""
    folder = str(tmp_path_factory.mktemp("compiled"))
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


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


@pytest.fixture(scope="session")
def tiny_study(tmp_path_factory):
    """A small study that no test changes; copy its folder to break it."""
    return build_tiny_study(tmp_path_factory.mktemp("studies") / "tiny")


@pytest.fixture
def broken_copy(tiny_study, tmp_path):
    """A copy of the small study, to break."""
    import shutil

    from pathjax.data.study import Study

    shutil.copytree(tiny_study.root, tmp_path / "copy")
    return Study(tmp_path / "copy")
