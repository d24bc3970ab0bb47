"""What embedding over HTTP would cost, said and agreed to before a text is sent."""

import dataclasses
import sys

from pathjax.data.text_store import TextError
from pathjax.text.backend import Plan
from pathjax.text.openai_http import OpenAIBackend
from pathjax.text.openai_models import PRICES_SEEN


@dataclasses.dataclass(frozen=True)
class Quote:
    """What is to be sent, and what for.

    Attributes:
      price: US dollars for a million tokens; None when not known.
      usd: of all missing pieces, None with `price`.
      lines: for a person.
    """

    price: float | None
    usd: float | None
    lines: tuple[str, ...]


def quote(plan: Plan, backend: OpenAIBackend, price: float | None = None) -> Quote:
    """The cost of what the cache lacks.

    Args:
      plan: what is missing.
      backend: where it would be sent.
      price: US dollars for a million tokens, where the known one is not right. A local
        server is free of charge if None.
    """
    known = backend.known.usd_per_million
    source = "as given" if price is not None else f"seen in {PRICES_SEEN}"
    if price is None:
        price = 0.0 if backend.local else known
    usd = None if price is None else plan.tokens * price / 1e6
    share = f"{len(plan.missing)} pieces to ask for, {plan.cached} in the cache"
    lines = [
        f"{len(plan.pieces)} texts, {plan.cut} of them cut; {share}",
        f"about {plan.tokens} tokens ({backend.counted})",
    ]
    if price:
        lines.append(f"about ${usd:.4f}, ${price:g} for a million tokens ({source})")
    elif price is None:
        lines.append(f"the price of {backend.model} is not known: name it with --price")
    if plan.missing and not backend.local:
        lines.append(f"the texts leave this machine: they go to {backend.base_url}")
    return Quote(price, usd, tuple(lines))


def agree(found: Quote, *, yes: bool, max_cost: float | None, paid: bool) -> None:
    """Returns when the cost is agreed to.

    Args:
      found: the quote.
      yes: agreed to, whatever it is.
      max_cost: agreed to up to so many US dollars.
      paid: False where nothing is sent to another machine.

    Raises:
      TextError: it is not agreed to, or is over `max_cost`.
    """
    if max_cost is not None:
        if found.usd is None:
            raise TextError("--max-cost needs a price: name it with --price")
        if found.usd > max_cost:
            raise TextError(
                f"about ${found.usd:.4f} is over --max-cost {max_cost:g}: nothing was "
                "sent"
            )
    elif paid and not yes:
        if not sys.stdin.isatty():
            raise TextError(
                "nothing was sent: agree with --yes, or up to a sum with --max-cost USD"
            )
        if input("send them? [y/N] ").strip().lower() not in ("y", "yes"):
            raise TextError("nothing was sent")
