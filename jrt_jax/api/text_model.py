"""A trained model: text in; text, likelihoods, activations and states out."""

from __future__ import annotations  # help() shows `Text`, not what it is

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

  Wherever a text may be given, its token ids may be as well: integers [n], as a
  list or an array. A list of texts gives a list of results, in its order; none
  depends on what else is in the list. What has no tokens is read as the id that
  ends a document.

  A prompt is read as in training: as much of its start as the run's policy says
  is prefix, whose tokens see what comes later. `reading='twice'` reads a text,
  a line break and the text again (token ids without the line break), which is
  JRT-Prompt (https://arxiv.org/abs/2407.05483). To ask about a context as there,
  make the prompt with `jrt_jax.prompting.jrt_prompt(context, question)`.

  The first call of a kind compiles, for some seconds or minutes. Batches and
  lengths are filled up to powers of two, so that few sizes are compiled.

  Attributes:
    name: where it was loaded from.
    model: the `jrt_jax.generation.Model`, for all that is not here: its
      `params` are the weights, a flat dict, and its `tokenizer` says more.
  """

  def __init__(self, model: generation.Model, name: str = ''):
    self.model, self.name = model, name

  def __repr__(self) -> str:
    step = self.model.step  # 0 where it is unknown, as of exports
    return (
        f'<{self.name or "model"}: {self.num_parameters:,} parameters,'
        f' {self.num_layers} layers of width {self.width}'
        + f', step {step:,}' * bool(step)
        + '>'
    )

  @property
  def config(self) -> dict[str, Any]:
    """That of its run: nested dicts with the keys of `configs/base.py`."""
    return self.model.config

  @property
  def num_layers(self) -> int:
    """N, the layers that `hidden` can look behind."""
    return len(self.config['model']['mixers'])

  @property
  def width(self) -> int:
    """E, the width of the residual stream."""
    return self.config['model']['width']

  @property
  def num_parameters(self) -> int:
    """How many numbers were trained; tied ones once."""
    _, shapes = models.abstract(self.config['model'])
    return sum(x.size for x in shapes.values())

  def encode(self, text: str) -> np.ndarray:
    """Returns the token ids of a text, int32 [n], without special ones."""
    if not isinstance(text, str):
      raise ValueError(f'text must be a str, got {type(text).__name__}')
    return arguments.ids(self.model, text)

  def decode(self, ids: Sequence[int]) -> str:
    """Returns the text of token ids [n]; special ones have none."""
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
    """Returns what a model writes after a text, or after each of a list.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> lm.generate('My fellow Americans,', max_tokens=6)
    ' we must help us. We'
    >>> lm.generate(['My fellow Americans,'], reading='twice', max_tokens=6)
    [' and we must do not do']

    Args:
      texts: prompts. None: nothing is added to what `state` has read.
      max_tokens: a continuation has at most so many.
      temperature: divides the logits; 0 takes the likeliest token (greedy).
      top_k: tokens are drawn among so many of the likeliest; 0: among all.
      top_p: and among the likeliest that have this probability together.
      repetition_penalty: makes tokens that have occurred less likely; 1: not.
      stop: a text, or several, before the first of which a continuation ends.
      seed: of draws; text b of a list draws with seed + b.
      reading: 'once' or 'twice'; see the class.
      state: what was read before. That of one text is continued by each of the
        texts; that of B texts by one for all, or by B.
      turn: how texts are read after a state; see `State.extend`.
      short_prompt: how a prompt shorter than the model's prefix is read: 'trim',
        as it is; 'read_twice', again and again until the prefix is full;
        'left_pad_reference', as released models; 'iterate', anew after every
        token that was written. None: as the model was evaluated.
      long_prompt: what of a longer prompt is prefix: its 'head', as in training;
        its 'tail'; all of it as 'blocks', one after the other, or as one,
        'all', for which memory grows with its length.
      batch_size: how many are read at once: fewer take less memory.

    Returns:
      a text, without the prompt, or a list of them.

    Raises:
      ValueError: an argument is out of range, or no text; or logits are not
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
    rows, is_single = continuation.prompts(self.model, texts, reading, state)
    size = arguments.whole('batch_size', batch_size, 1)
    found = continuation.continued(
        self.model, rows, settings, state=state, turn=turn, batch_size=size
    )
    return found[0] if is_single else found

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
    """Returns how likely each answer is after its context.

    Only the context can be prefix: no token of an answer sees those after it.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> scores = lm.score('The President of the', [' United States', ' device'])
    >>> [round(score.log_likelihood, 1) for score in scores]
    [-1.5, -9.5]
    >>> [score.is_greedy for score in scores]
    [True, False]

    Args:
      contexts: as `generate` takes them; '' scores an answer as the start of a
        document.
      answers: one for each context. One context can have several, and one
        answer be asked for after several. Between texts, spaces at the end of
        the context count as the start of the answer, as its tokens have them.
      reading: 'once' or 'twice', of the contexts; see the class.
      short_prompt, long_prompt, batch_size: see `generate`. Answers of the same
        context are scored together, which reads it once.

    Raises:
      ValueError: an argument is out of range or no text, or there are not as
        many answers as contexts.
    """
    contexts, one_context = arguments.as_list('contexts', contexts)
    answers, one_answer = arguments.as_list('answers', answers)
    if one_context:
      contexts *= len(answers)
    elif one_answer:
      answers *= len(contexts)
    scores = score_lib.score(
        self.model,
        arguments.read(contexts, reading),
        answers,
        scoring.ScoringSettings(
            arguments.whole('batch_size', batch_size, 1),
            short_prompt,
            long_prompt,
        ),
    )
    return scores[0] if one_context and one_answer else scores

  def hidden(
      self,
      texts: Text | Sequence[Text],
      *,
      layer: int | None = None,
      reading: str = 'once',
      batch_size: int = _BATCH_SIZE,
  ) -> np.ndarray | list[np.ndarray]:
    """Returns the activations of each token of a text, as it is read.

    Positions of the prefix have seen all of it, so that they depend on what
    comes later in the text.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> lm.hidden('The device is', layer=3).shape
    (3, 128)
    >>> [x.shape for x in lm.hidden(['The device is'])]
    [(3, 128)]

    Args:
      texts: as `generate` takes them, each of at least one token.
      layer: 0 is the embedding of each token, i the residual stream after i of
        the N layers. None: after the last norm, of which the logits are made.
        One program computes all: a further layer compiles nothing.
      reading: 'once' or 'twice'; see the class.
      batch_size: see `generate`.

    Returns:
      float32 [n, E], or a list of them: row i is that of `lm.encode(text)[i]`.

    Raises:
      ValueError: there is no such layer, or an argument is no text.
    """
    texts, is_single = arguments.as_list('texts', texts)
    found = hidden.hidden(
        self.model,
        arguments.read(texts, reading),
        layer,
        batch_size=arguments.whole('batch_size', batch_size, 1),
    )
    return found[0] if is_single else found

  def read(
      self,
      texts: Text | Sequence[Text],
      *,
      reading: str = 'once',
      short_prompt: str | None = None,
      long_prompt: str = 'head',
  ) -> State:
    """Reads a text, or B texts beside each other, and returns the memory.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> state = lm.read('The President of the')
    >>> lm.generate(state=state, max_tokens=6)
    ' United States, and the Congress'

    Args:
      texts, reading, short_prompt, long_prompt: as `generate` takes them.

    Raises:
      ValueError: an argument is out of range, or no text.
    """
    texts, is_single = arguments.as_list('texts', texts)
    return state_lib.read(
        self,
        arguments.read(texts, reading),
        is_single=is_single,
        settings=generation.GenerationSettings(
            max_tokens=0, short_prompt=short_prompt, long_prompt=long_prompt
        ),
    )

  def load_state(self, path: str | os.PathLike) -> State:
    """Returns the state that `State.save` has written.

    >>> import jrt_jax
    >>> lm = jrt_jax.load('builtin:jrt_2m')
    >>> lm.read('The President of the').save('memory.npz')
    >>> lm.load_state('memory.npz')
    <state of 1 text: 4 tokens read, 300,840 bytes each>

    A list of one text comes back as a single one.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is damaged, or the memory of another model.
    """
    path = pathlib.Path(path).expanduser()
    read = state_file.load(path, self.model)
    return State(self, read, is_single=len(read.position) == 1)
