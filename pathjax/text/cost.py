"""States what embedding over HTTP would cost, and asks before a text is sent."""

import dataclasses
import sys

from pathjax.data.text_store import TextError
from pathjax.text.embed import Plan, Progress
from pathjax.text.openai import PRICES_SEEN, OpenAIBackend


@dataclasses.dataclass(frozen=True)
class Quote:
    """The cost of what the cache lacks, and lines that state it.

    Attributes:
      price: US dollars per million tokens; None if unknown.
      usd: In all; None with `price`.
      lines: For the user.
    """

    price: float | None
    usd: float | None
    lines: tuple[str, ...]


def quote(plan: Plan, backend: OpenAIBackend, price: float | None = None) -> Quote:
    """The cost at `price`; None takes the known one, which is 0 for a local server."""
    source = "as given" if price is not None else f"seen in {PRICES_SEEN}"
    if price is None:
        price = 0.0 if backend.local else backend.known.usd_per_million
    usd = None if price is None else plan.tokens * price / 1e6
    share = f"{len(plan.missing)} pieces to request, {plan.cached} in the cache"
    lines = [
        f"{len(plan.pieces)} texts, {plan.cut} of them cut; {share}",
        f"about {plan.tokens} tokens ({backend.counted})",
    ]
    if price:
        lines.append(f"about ${usd:.4f}, ${price:g} per million tokens ({source})")
    elif price is None:
        lines.append(f"the price of {backend.model} is unknown: give it with --price")
    if plan.missing and not backend.local:
        lines.append(f"the texts leave this machine: they go to {backend.base_url}")
    return Quote(price, usd, tuple(lines))


def agree(offer: Quote, *, yes: bool, max_cost: float | None, paid: bool) -> None:
    """Returns if the cost is accepted.

    Args:
      offer: The quote.
      yes: Accept any cost.
      max_cost: Accept up to so many US dollars.
      paid: False if nothing is sent to another machine.

    Raises:
      TextError: it is not accepted, or over `max_cost`.
    """
    if max_cost is not None:
        if offer.usd is None:
            raise TextError("--max-cost needs a price: give it with --price")
        if offer.usd > max_cost:
            raise TextError(
                f"about ${offer.usd:.4f} is over --max-cost {max_cost:g}: nothing was "
                "sent"
            )
    elif paid and not yes:
        if not sys.stdin.isatty():
            raise TextError(
                "nothing was sent: agree with --yes, or up to a sum with --max-cost USD"
            )
        if input("send them? [y/N] ").strip().lower() not in ("y", "yes"):
            raise TextError("nothing was sent")


def stop_over(
    backend: OpenAIBackend, price: float | None, max_cost: float | None
) -> Progress:
    """A progress that raises TextError when the tokens billed cost over `max_cost`."""

    def check(done: int, total: int) -> None:
        usd = backend.billed * (price or 0) / 1e6
        if max_cost is not None and usd > max_cost and done < total:
            raise TextError(
                f"${usd:.4f} is paid, over --max-cost {max_cost:g}, after {done} of "
                f"{total} pieces: they are cached"
            )

    return check
