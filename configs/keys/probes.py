"""The keys of `config.probes`: questions that a run is asked while it trains."""

from jrt_jax.schema import KeyOf
from jrt_jax.schema import ListOf
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

_COUNT_OR_0 = Whole(0, 10**9)

KEYS = dict(
    every=(0, _COUNT_OR_0),  # steps between two probings; 0: no probing
    # a .jsonl file with context, question and answers in each line; empty:
    # generated contexts of names and numbers
    path=('', Text()),
    count=(32, Whole(1, 10**5)),  # largest number of questions
    # name-number pairs in a generated context
    pairs=(8, Whole(1, 10**4)),
    # how a prompt shows its context: default once, twice as in JRT-Prompt
    prompts=(
        ('default', 'twice'),
        ListOf(KeyOf('jrt_jax.prompting.prompts:PROMPTS'), 1, 6),
    ),
)
