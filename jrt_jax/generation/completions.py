"""Continues prompts, and yields the texts while they are generated."""

from collections.abc import Iterator, Sequence
import time

import jax
import numpy as np

from jrt_jax.generation import continued_text
from jrt_jax.generation import decode_loop
from jrt_jax.generation import prefill
from jrt_jax.generation import prompt_segments
from jrt_jax.generation import sizes
from jrt_jax.generation.continued_text import Completion
from jrt_jax.generation.continued_text import ContinuedText
from jrt_jax.generation.model import Model
from jrt_jax.generation.prefill import DecodeState
from jrt_jax.generation.prompt_segments import Segment
from jrt_jax.generation.settings import GenerationSettings
from jrt_jax.models import decode

CHUNK = 16  # tokens between two updates of texts that are shown
_NOTHING = np.zeros(0, np.int32)


def generate(
    model: Model,
    prompts: Sequence[str | np.ndarray],
    settings: GenerationSettings = GenerationSettings(),
    *,
    seeds: Sequence[int] | None = None,
) -> list[Completion]:
  """Continues prompts of any lengths as one batch.

  The batch is padded to a power of two, so that few sizes are compiled.

  Args:
    model: a model from `load`.
    prompts: texts, or ids int [n].
    settings: how prompts are read and continued.
    seeds: a seed in [0, 2**31) for each prompt; None: see
      `GenerationSettings`.

  Raises:
    ValueError: a prompt is empty or has unknown ids, or a setting is wrong.
  """
  continuation = Continuation(model, prompts, settings, seeds=seeds)
  continuation.finish()
  return continuation.completions


class Continuation:
  """Prompts that have been read; iterating continues them.

  Each iteration yields a list of str: what was added to the text of each row.
  A repetition penalty counts the tokens of the prompts and continuations, but
  not those that were read before the prompts (`after`).

  Args:
    model: the model that reads and continues.
    prompts: texts, or ids int [n]; with `after` they may be empty.
    settings: how prompts are read and continued.
    after: the reading of earlier texts, one for each prompt, or a single one
      that all prompts continue.
    turn: how prompts are read after earlier texts, a name in TURNS.
    seeds: see `generate`.
    settles: whether `settled` will be called; a copy of the state is then kept.

  Attributes:
    prompts: their ids, a list of int32 [n].
    prefix_tokens: how many tokens of the prompts were read as prefix.
    read_seconds: the time to read the prompts, compilation included.
  """

  def __init__(
      self,
      model: Model,
      prompts: Sequence[str | np.ndarray],
      settings: GenerationSettings = GenerationSettings(),
      *,
      after: DecodeState | None = None,
      turn: str = 'turn_blocks',
      seeds: Sequence[int] | None = None,
      settles: bool = False,
  ):
    if not len(prompts):
      raise ValueError('there must be at least one prompt, got none')
    seeds = decode_loop.seeds_of(len(prompts), seeds, settings.seed)
    B = sizes.filled_rows(len(prompts), model.replicas)
    after = _for_each(len(prompts), B, after)
    self._model, self._settings = model, settings
    self.prompts = [
        model.encode(prompt) if len(prompt) or after is None else _NOTHING
        for prompt in prompts
    ]
    self._rows = [
        ContinuedText(model.tokenizer, settings.max_tokens, settings.stop)
        for _ in prompts
    ]
    self._iterates = settings.short_prompt == 'iterate' and after is None
    longest = max(map(len, self.prompts))
    self._room = longest + settings.max_tokens + CHUNK
    if after is None:
      rows = [self._as_prompt(tokens) for tokens in self.prompts]
    else:
      rows = [prompt_segments.of_turn(model, x, turn) for x in self.prompts]
    self.prefix_tokens = sum(map(_prefix_tokens, rows))
    rows = sizes.with_empty(rows, model.replicas)
    start = time.perf_counter()
    # For the rows, and for those that pad the batch.
    self._state = prefill.prefill(
        model, rows, after=after, room=self._room - longest
    )
    jax.block_until_ready(self._state)
    self.read_seconds = time.perf_counter() - start
    self._settles, self._before = settles, None  # before the newest tokens
    self._sampler = decode_loop.start(model, self._state, seeds, self._seen())
    self._drawn = 0  # tokens of each row
    self._least = 0  # tokens until the loop may return; grows
    self._may_end = continued_text.may_end(
        model.tokenizer, settings.stop, model.ids_of if settings.stop else {}
    )
    self._paces = []  # tokens a second of each call of the loop

  @property
  def decode_state(self) -> DecodeState:
    """A copy of the state after the prompts and all sampled tokens."""
    return prefill.take([self._state], np.arange(len(self._rows)))

  @property
  def ended(self) -> bool:
    """Whether all texts have ended."""
    return not self._unfinished().any()

  @property
  def completions(self) -> list[Completion]:
    return [row.completion() for row in self._rows]

  @property
  def tokens_per_second(self) -> float | None:
    """Of all rows together, without the first call, which compiles."""
    return np.median(self._paces[1:]) if self._paces[1:] else None

  def __iter__(self) -> Iterator[list[str]]:
    while not self.ended:
      yield self.advance()

  def finish(self) -> None:
    """Generates until all texts have ended."""
    while not self.ended:
      self.advance(decode.MAX_TOKENS)

  def advance(self, tokens: int = CHUNK) -> list[str]:
    """Samples tokens for each row; returns what they add to the texts.

    Args:
      tokens: about how many: fewer if all texts may have ended before, else
        possibly a few more. The first call samples at most `CHUNK`, because it
        compiles and would distort the measured speed.

    Raises:
      ValueError: logits are not finite.
    """
    if not self._paces:
      tokens = min(tokens, CHUNK)
    tokens = min(tokens, self._settings.max_tokens - self._drawn)
    anew, unfinished = self._to_read_anew(), self._unfinished()
    check_every = decode.CHECK_EVERY
    if anew.any():
      tokens = check_every = min(tokens, self._settings.iterate_every)
    if self._settles:
      self._before = self.decode_state
    start = time.perf_counter()
    drawn, self._state, self._sampler = decode_loop.run(
        self._model,
        self._state,
        self._sampler,
        tokens=tokens,
        least=self._least,
        rows=self._filled_up(unfinished),
        may_end=self._may_end,
        sampling=self._settings.sampling,
        check_every=check_every,
    )
    ids = drawn.tokens[: len(self._rows), : drawn.count]
    self._paces.append(ids.size / (time.perf_counter() - start))
    self._drawn += ids.shape[1]
    new = [row.add(own) for row, own in zip(self._rows, ids)]
    self._check_finite(unfinished, drawn.finite)
    if ids.shape[1] < tokens and (self._unfinished() == unfinished).all():
      self._least = min(max(2 * self._least, decode.CHECK_EVERY), CHUNK)
    self._read_anew(anew & self._unfinished())
    return new

  def settled(self) -> DecodeState:
    """The state of a single row after exactly the tokens of its completion.

    It can differ from `decode_state`, because the loop may have sampled tokens
    after the end of the text.
    """
    (row,) = self._rows
    if not row.rejected:
      return self.decode_state
    if not row.accepted:
      return self._before
    segment = Segment(np.array(row.accepted, np.int32), False)
    return prefill.prefill(self._model, [[segment]], after=self._before)

  def _as_prompt(self, tokens):
    return prompt_segments.of_prompt(
        self._model,
        tokens,
        short=self._settings.short_prompt,
        long=self._settings.long_prompt,
    )

  def _check_finite(self, unfinished, finite):
    """Raises an error for NaN logits, which would sample the first id.

    Args:
      unfinished: bool [B], the rows that use the sampled tokens.
      finite: int32 [B], how many of the first tokens were sampled from finite
        logits.
    """
    for row, went_on, count in zip(self._rows, unfinished, finite):
      used = len(row.accepted) + (row.ended == 'end of text')
      if went_on and used > count:
        raise ValueError(
            'logits must be finite, got others: weights are damaged, or the'
            ' model has read more than its state can hold'
        )

  def _seen(self):
    """Bool [B, num_ids]: the ids of the prompts, if there is a penalty."""
    if self._settings.sampling.repetition_penalty == 1:
      return None
    shape = len(self._state.position), self._model.tokenizer.size
    seen = np.zeros(shape, bool)
    for row, tokens in zip(seen, self.prompts):
      row[tokens] = True
    return seen

  def _unfinished(self):
    return np.array([not row.ended for row in self._rows])

  def _to_read_anew(self):
    """Bool [B]: rows that will be read again with their next tokens."""
    position = np.asarray(self._state.position)[: len(self._rows)]
    has_room = position < self._model.prefix_capacity
    return has_room & self._unfinished() & self._iterates

  def _read_anew(self, rows):
    """Reads bool [B] `rows` as prompts, with all their sampled tokens."""
    if not rows.any():
      return
    texts = [
        np.concatenate([prompt, row.tokens]).astype(np.int32)
        for prompt, row in zip(self.prompts, self._rows)
    ]
    segments = sizes.with_empty(
        [self._as_prompt(x) if read else () for x, read in zip(texts, rows)],
        self._model.replicas,
    )
    longest = max(len(text) for text, read in zip(texts, rows) if read)
    new = prefill.prefill(self._model, segments, room=self._room - longest)
    chosen = prefill.choose(self._filled_up(rows), new, self._state)
    self._state = prefill.commit(self._model, chosen)

  def _filled_up(self, rows):
    """Extends bool `rows` with False for the rows that pad the batch."""
    return np.pad(rows, (0, len(self._state.position) - len(rows)))


def _prefix_tokens(row):
  return sum(len(p.tokens) - p.padding for p in row if p.is_prefix)


def _for_each(count, B, state):
  """Returns the earlier state of B rows, of which `count` have prompts."""
  if state is None:
    return None
  rows = len(state.position)
  if rows not in (1, count):
    raise ValueError(
        f'there must be one prompt for each of the {rows} texts in `after`,'
        f' got {count}'
    )
  return prefill.take([state], np.arange(B) % rows)
