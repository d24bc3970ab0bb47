"""Run by test_supervised.py: a process that meets the others, then waits."""

import sys
import time

from pathjax.parallel.supervisor import supervise

if (status := supervise()) is not None:
    sys.exit("JAX was imported" if "jax" in sys.modules else status)

from pathjax.parallel.collective import barrier
from pathjax.parallel.launch import Launch, session

with session(Launch(sys.argv[1], 2, int(sys.argv[2]))):
    barrier("here")
    print("met", flush=True)
    while True:
        time.sleep(0.1)
