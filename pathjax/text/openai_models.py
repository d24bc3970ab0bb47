"""What is known of OpenAI's embedding models, for limits and for the cost."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Model:
    """An embedding model.

    Attributes:
      dimensions: of its vectors, None when not known.
      max_tokens: of one text.
      usd_per_million: price of a million tokens in US dollars, None when not known.
      encoding: tiktoken's name of its vocabulary, None when not known.
      shortens: takes another number of dimensions.
    """

    dimensions: int | None
    max_tokens: int
    usd_per_million: float | None
    encoding: str | None
    shortens: bool


# Limits: OpenAI's reference, "Create embeddings" (8,192 tokens a text; we stay one
# below, as its guide gives 8,191). Prices: developers.openai.com/api/docs/models and
# /api/docs/pricing, standard tier, seen in November 2026. They change: --price.
MODELS = {
    "text-embedding-ada-002": Model(1536, 8191, 0.10, "cl100k_base", False),
    "text-embedding-3-small": Model(1536, 8191, 0.02, "cl100k_base", True),
    "text-embedding-3-large": Model(3072, 8191, 0.13, "cl100k_base", True),
}
PRICES_SEEN = "November 2026"

# Most sentence encoders behind servers of this protocol take 512 tokens.
UNKNOWN = Model(None, 512, None, None, True)

# Of one request (the same reference): texts, and tokens of all of them.
MAX_TEXTS = 2048
MAX_REQUEST_TOKENS = 300_000
