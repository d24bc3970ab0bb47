"""Which instructions of a compiled program run in one call, and how often."""

import dataclasses
from collections.abc import Callable, Iterator

from pathjax.plan.hlo import Instruction, Module


@dataclasses.dataclass(frozen=True)
class Run:
    """An instruction as it runs.

    Attributes:
      where: name of its computation.
      instruction: the instruction.
      repeats: times that it runs.
      exact: False inside a loop whose length the text does not tell; `repeats` counts
        that loop once.
      source: op_name of what called its computation.
      fused: whether a fusion called it.
    """

    where: str
    instruction: Instruction
    repeats: int
    exact: bool
    source: str
    fused: bool


def running(
    module: Module, enter: Callable[[Instruction, str], bool] | None = None
) -> Iterator[Run]:
    """Every instruction that runs; through calls, branches and loops.

    Args:
      module: the program.
      enter: (caller, name of a computation) -> whether to go into it; all when None.
        Of a conditional all branches run, as which one is known only then.
    """

    def within(name, repeats, exact, source, fused):
        for one in module.computations[name].instructions:
            yield Run(name, one, repeats, exact, source, fused)
            caller = one.op_name or source
            for inner in one.called:
                if enter is None or enter(one, inner):
                    is_fusion = one.opcode == "fusion"
                    yield from within(inner, repeats, exact, caller, is_fusion)
            if one.opcode == "while":
                body = one.attribute("body")
                if enter is None or enter(one, body):
                    times = module.trip_count(module.computations[name], one)
                    known = exact and times is not None
                    rounds = repeats * (1 if times is None else times)
                    yield from within(body, rounds, known, caller, False)

    yield from within(module.entry, 1, True, "", False)
