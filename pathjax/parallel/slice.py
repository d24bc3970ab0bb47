"""Which part of each global batch a process loads; free of JAX, for readers of data."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Slice:
    """The part of one process: an equal share of the rows, in process order."""

    process: int = 0
    processes: int = 1

    def of(self, size: int) -> slice:
        """The rows of a global batch of `size` that this process loads."""
        share = size // self.processes
        return slice(self.process * share, (self.process + 1) * share)
