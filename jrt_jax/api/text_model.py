"""A trained model: text in; text, likelihoods, activations and states out."""

from __future__ import annotations  # help() shows the name `Text`

from collections.abc import Sequence
import os
import pathlib
from typing import Any

import numpy as np

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.api import arguments
from jrt_jax.api import continuation
from jrt_jax.api import hidden
from jrt_jax.api import score as score_lib
from jrt_jax.api import state as state_lib
from jrt_jax.api.arguments import Text
from jrt_jax.api.score import Score
from jrt_jax.api.state import State
from jrt_jax.evaluation import scoring
from jrt_jax.generation import state_file

_BATCH_SIZE = 8


class TextModel:
  """A trained model, from `jrt_jax.load`.

  Every text can also be given as its token ids: integers [n], a list or an
  array. A list of texts gives a list of results in the same order; a result
  does not depend on the other texts of the list. A text without tokens is read
  as the id that ends a document.

  A prompt is read as in training: the run's policy decides how much of its
  start is prefix. Tokens of the prefix see the whole prefix. `reading='twice'`
  reads a text, a line break and the text again (token ids without the line
  break); this is JRT-Prompt (https://arxiv.org/abs/2407.05483). To ask a
  question about a context as in that paper, make the prompt with
  `jrt_jax.prompting.jrt_prompt(context, question)`.

  The first call of each kind compiles, which takes seconds to minutes. Batches
  and lengths are padded to powers of two, so that few sizes are compiled.

  Attributes:
    name: where the model was loaded from.
    model: the `jrt_jax.generation.Model`, for everything else: `model.params`
      is a flat dict of weights, and `model.tokenizer` is its tokenizer.
  """

  def __init__(self, model: generation.Model, name: str = ''):
    self.model, self.name = model, name

  def __repr__(self) -> str:
    step = self.model.step  # 0 if unknown, as for exports
    known = f', step {step:,}' if step else ''
    return (
        f'<{self.name or "model"}: {self.num_parameters:,} parameters,'
        f' {self.num_layers} layers of width {self.width}{known}>'
    )

  @property
  def config(self) -> dict[str, Any]:
    """Its run's config, nested dicts with the keys of `configs/base.py`."""
    return self.model.config

  @property
  def num_layers(self) -> int:
    """N, the number of layers."""
    return len(self.config['model']['mixers'])

  @property
  def width(self) -> int:
    """E, the width of the residual stream."""
    return self.config['model']['width']

  @property
  def num_parameters(self) -> int:
    """The number of trained parameters; tied ones count once."""
    _, shapes = models.abstract(self.config['model'])
    return sum(x.size for x in shapes.values())

  def encode(self, text: str) -> np.ndarray:
    """Returns the token ids of a text, int32 [n], without special tokens."""
    if not isinstance(text, str):
      raise ValueError(f'text must be a str, got {type(text).__name__}')
    return arguments.ids(self.model, text)

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of token ids [n]; special tokens have no text."""
    known = arguments.token_ids(self.model, ids)
    return self.model.tokenizer.decode(known.tolist())

  def generate(
      self,
      texts: Text | Sequence[Text] | None = None,
      *,
      max_tokens: int = 256,
      temperature: float = 0.0,
      top_k: int = 0,
      top_p: float = 1.0,
      repetition_penalty: float = 1.0,
      stop: str | Sequence[str] = (),
      seed: int = 0,
      reading: str = 'once',
      state: State | None = None,
      turn: str = 'turn_blocks',
      short_prompt: str | None = None,
      long_prompt: str = 'head',
      batch_size: int = _BATCH_SIZE,
  ) -> str | list[str]:
    """Returns the continuation of a text, or of each text in a list.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> lm.generate('My fellow Americans,', max_tokens=6)
    ' we must help us. We'
    >>> lm.generate(['My fellow Americans,'], reading='twice', max_tokens=6)
    [' and we must do not do']

    Args:
      texts: prompts. None: `state` is continued as it is.
      max_tokens: the most tokens of a continuation.
      temperature: the logits are divided by it; 0 takes the likeliest token
        (greedy).
      top_k: sample among this many of the likeliest tokens; 0: all.
      top_p: sample among the likeliest tokens whose probabilities add up to
        this.
      repetition_penalty: values above 1 make tokens less likely that have
        occurred before.
      stop: a text or several; a continuation ends before the first of them.
      seed: the random seed; text b of a list uses seed + b.
      reading: 'once' or 'twice'; see the class.
      state: the state after earlier text. The state of one text is continued by
        each of the texts. The state of B texts is continued by one text for
        all, or by B texts.
      turn: how texts are read after a state; see `State.extend`.
      short_prompt: how a prompt shorter than the model's prefix is read.
        'trim': as a shorter prefix. 'read_twice': repeated until the prefix is
        full. 'left_pad_reference': padded on the left, as released models were
        evaluated. 'iterate': read again after every generated token. None: the
        model's default.
      long_prompt: which part of a longer prompt is prefix. 'head': its start,
        as in training. 'tail': its end. 'blocks': all of it, in blocks that are
        prefixes one after the other. 'all': all of it, as one prefix; memory
        then grows with its length.
      batch_size: how many texts are read at once; fewer need less memory.

    Returns:
      the continuation without the prompt, or a list of them.

    Raises:
      ValueError: an argument is out of range or not a text, or logits are not
        finite.
    """
    settings = continuation.settings(
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        repetition_penalty=repetition_penalty,
        stop=stop,
        seed=seed,
        short_prompt=short_prompt,
        long_prompt=long_prompt,
    )
    size = arguments.whole('batch_size', batch_size, 1)
    return continuation.generate(
        self.model, texts, settings, reading, state, turn, size
    )

  def score(
      self,
      contexts: Text | Sequence[Text],
      answers: Text | Sequence[Text],
      *,
      reading: str = 'once',
      short_prompt: str | None = None,
      long_prompt: str = 'head',
      batch_size: int = _BATCH_SIZE,
  ) -> Score | list[Score]:
    """Returns the log-likelihood of each answer after its context.

    Only the context can be prefix: no token of an answer sees those after it.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> scores = lm.score('The President of the', [' United States', ' device'])
    >>> [round(score.log_likelihood, 1) for score in scores]
    [-1.5, -9.5]
    >>> [score.is_greedy for score in scores]
    [True, False]

    Args:
      contexts: see `texts` of `generate`; '' scores an answer as the start of a
        document.
      answers: one answer for each context. A single context can have several
        answers, and a single answer several contexts. If both are texts, spaces
        at the end of the context are moved to the start of the answer, because
        tokens begin with spaces.
      reading: 'once' or 'twice': how contexts are read; see the class.
      short_prompt, long_prompt, batch_size: see `generate`. A context with
        several answers is read once.

    Raises:
      ValueError: an argument is out of range or not a text, or the numbers of
        answers and contexts differ.
    """
    batch_size = arguments.whole('batch_size', batch_size, 1)
    settings = scoring.ScoringSettings(batch_size, short_prompt, long_prompt)
    return score_lib.score(self.model, contexts, answers, reading, settings)

  def hidden(
      self,
      texts: Text | Sequence[Text],
      *,
      layer: int | None = None,
      reading: str = 'once',
      batch_size: int = _BATCH_SIZE,
  ) -> np.ndarray | list[np.ndarray]:
    """Returns the activations at each token of a text.

    Positions in the prefix see the whole prefix, so that their activations
    depend on later tokens, too.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> lm.hidden('The device is', layer=3).shape
    (3, 128)
    >>> [x.shape for x in lm.hidden(['The device is'])]
    [(3, 128)]

    Args:
      texts: see `generate`; each has at least one token.
      layer: 0 is the embedding of each token, i the residual stream after i of
        the N layers. None: the output of the last norm, from which the logits
        are computed. One program serves all layers, so that another layer
        compiles nothing.
      reading: 'once' or 'twice'; see the class.
      batch_size: see `generate`.

    Returns:
      float32 [n, E], or a list of them; row i belongs to `lm.encode(text)[i]`.

    Raises:
      ValueError: there is no such layer, or an argument is not a text.
    """
    batch_size = arguments.whole('batch_size', batch_size, 1)
    return hidden.hidden(self.model, texts, layer, reading, batch_size)

  def read(
      self,
      texts: Text | Sequence[Text],
      *,
      reading: str = 'once',
      short_prompt: str | None = None,
      long_prompt: str = 'head',
  ) -> State:
    """Reads a text, or B texts, and returns the state.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> state = lm.read('The President of the')
    >>> lm.generate(state=state, max_tokens=6)
    ' United States, and the Congress'

    Args:
      texts, reading, short_prompt, long_prompt: see `generate`.

    Raises:
      ValueError: an argument is out of range or not a text.
    """
    texts, is_single = arguments.as_list('texts', texts)
    texts = arguments.read(texts, reading)
    settings = generation.GenerationSettings(
        max_tokens=0, short_prompt=short_prompt, long_prompt=long_prompt
    )
    return state_lib.read(self, texts, is_single=is_single, settings=settings)

  def load_state(self, path: str | os.PathLike) -> State:
    """Returns the state that `State.save` has written.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> lm.read('The President of the').save('memory.npz')
    >>> lm.load_state('memory.npz')
    <state of 1 text: 4 tokens read, 300,840 bytes each>

    The state of a list with one text becomes that of a single text.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is damaged, or from another model.
    """
    path = pathlib.Path(path).expanduser()
    read = state_file.load(path, self.model)
    return State(self, read, is_single=len(read.position) == 1)
