"""Settings that must hold before JAX starts, and the folder of real data."""

import contextlib
import ctypes
import functools
import gc
import os
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import pytest

gc.disable()  # until all is imported and collected, of which next to nothing is garbage

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the time of a test is compilation, and nothing here is timed.
FLAGS = [
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_parallel_codegen_split_count=1",
]
# Halves the time to compile a training step. Later versions refuse to start with it.
if version("jaxlib").startswith("0.10."):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))

import jax  # the platform has to be chosen first
from tiny_study import build_tiny_study

from pathjax.parallel.mesh import make_mesh
from pathjax.train import program, state

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_configure(config):
    """Keeps compiled programs in pytest's cache, for all workers, processes and runs.

    JAX finds them by program, flags and version; `pytest --cache-clear` removes them.
    Where there is no such cache (`-p no:cacheprovider`, a checkout that cannot be
    written to) they last for this run.
    """
    if not hasattr(config, "workerinput"):  # workers inherit the environment
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compiled_folder(config))
    for name, value in (
        ("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"]),
        ("jax_persistent_cache_min_compile_time_secs", 0.0),
        ("jax_persistent_cache_min_entry_size_bytes", -1),
    ):
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for processes that tests start


def compiled_folder(config) -> Path:
    try:
        folder = config.cache.mkdir("compiled")
        (folder / "written").touch()
    except (AttributeError, OSError):
        temporary = tempfile.TemporaryDirectory(prefix="pathjax-compiled-")
        config.add_cleanup(temporary.cleanup)
        return Path(temporary.name)
    fortnight_ago = time.time() - 14 * 86400
    for path in folder.iterdir():
        if path.stat().st_mtime < fortnight_ago:
            path.unlink()
    return folder


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


# Files of minutes, the longest first.
LONGEST = (
    "test_readme.py",
    "test_notebooks.py",
    "test_training.py",
    "test_readme_demo.py",
    "test_real_weights.py",
    "test_reliability.py",
)


def pytest_collection_modifyitems(items):
    """The longest files go first: the last one is waited for by all other cores."""
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def pytest_collection_finish():
    """Objects of imports and collection stay: looking for garbage among them, as often
    as tracing a program makes Python do, takes a sixth of the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


REPOSITORY = Path(__file__).resolve().parent.parent
LARGE = 1.5e9  # bytes that a worker may hold between files


@pytest.fixture(scope="module", autouse=True)
def bounded_memory():
    """Drops compiled programs, nearly all that a worker holds, when it has grown.

    JAX reads them again from the cache on disk. glibc keeps their pages until told.
    """
    yield
    with contextlib.suppress(OSError, AttributeError):  # not Linux, or not glibc
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        if pages * os.sysconf("SC_PAGE_SIZE") > LARGE:
            jax.clear_caches()
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session", autouse=True)
def one_device():
    """Runs take one device, as on most machines, and compile in half the time.

    Those that set `mesh.data` or `mesh.fsdp` take all eight.
    """

    def make(data=-1, fsdp=1, among=None):
        if among is None and (data, fsdp) == (-1, 1):
            among = jax.devices()[:1]
        return make_mesh(data, fsdp, among)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pathjax.config.sections.make_mesh", make)
        yield


def once(make):
    """`make`, called once for equal arguments: trees of what can be hashed."""

    @functools.lru_cache(maxsize=16)
    def made(leaves, tree):
        args, options = jax.tree.unflatten(tree, leaves)
        return make(*args, **options)

    def call(*args, **options):
        leaves, tree = jax.tree.flatten((args, options))
        try:
            return made(tuple(leaves), tree)
        except TypeError:  # an objective of somebody's own need not be hashable
            return make(*args, **options)

    return call


@pytest.fixture(scope="session", autouse=True)
def traced_once():
    """Runs of one program share its trace, which takes most of a small run's time.

    They do when objective, optimiser, mesh, shapes and shardings are equal.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("make_schedule", "make_optimizer", "make_train_step",
                     "make_eval_step"):  # fmt: skip
            patch.setattr(program, name, once(getattr(program, name)))
        patch.setattr(state, "state_creator", once(state.state_creator))
        yield


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
