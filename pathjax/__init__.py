"""pathjax: make pathology foundation models better with transcriptomics.

Nothing is imported here, so that `pathjax --help` stays quick; import the module you
need, for example `from pathjax.data.study import Study`.
"""

__version__ = "0.1.0"
