"""Runs of a probe over the devices there are: each fits some of the seeds.

    run(shared, each) -> over_devices -> the same, its runs divided over local devices

Runs do not depend on each other, so nothing is exchanged: each device has all rows and
stops when its own runs have. A function of arrays is given and nothing is fitted here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import PartitionSpec


def over_devices(
    run: Callable[..., Any], shared: Sequence[Any], each: Sequence[np.ndarray]
) -> Any:
    """`run(*shared, *each)` as NumPy arrays; one device runs it as it is.

    Args:
      run: a jitted function whose results all have a leading axis R.
      shared: arrays that every run needs whole.
      each: arrays with a leading axis R, a row for each run.
    """
    runs = len(each[0])
    devices = min(jax.local_device_count(), runs)
    if devices > 1:
        # The first runs again, until they divide; their results are dropped.
        rows = -(-runs // devices) * devices
        each = [np.resize(one, (rows, *one.shape[1:])) for one in each]
        mesh = jax.make_mesh(
            (devices,),
            ("runs",),
            axis_types=(jax.sharding.AxisType.Auto,),
            devices=jax.local_devices()[:devices],
        )
        whole, split = PartitionSpec(), PartitionSpec("runs")
        run = jax.jit(
            jax.shard_map(
                run,
                mesh=mesh,
                in_specs=(whole,) * len(shared) + (split,) * len(each),
                out_specs=split,
                check_vma=False,
            )
        )
    found = run(*shared, *each)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:runs], found)
