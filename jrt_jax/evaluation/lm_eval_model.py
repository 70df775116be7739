"""A trained model as lm-evaluation-harness sees it (`--model jrt_jax`).

The harness (https://github.com/EleutherAI/lm-evaluation-harness, an extra) does
not need torch for this model. Its own `hf` model must not score log-likelihoods
of models with a prefix, because it does not tell them where the context ends.
"""

import collections
from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
from typing import Any
import zlib

from jinja2 import sandbox
from lm_eval.api import instance
from lm_eval.api import model as lm_eval_api
from lm_eval.api import registry
import numpy as np

from jrt_jax import generation
from jrt_jax.evaluation import leak_check
from jrt_jax.evaluation import scoring
from jrt_jax.reporting.progress import progress_bar

_MAX_TOKENS = 256  # the default of a task, as in the harness's other models
_CHECKED = 15  # tokens after a context; each costs the check one more reading


@registry.register_model('jrt_jax')
class JrtJax(lm_eval_api.TemplateLM):
  """Reads contexts as prompts; continuations are never prefix.

  Without a context, a continuation or a whole text follows the id that ends a
  document. Contexts are never truncated.

  Args:
    pretrained, workdir: a workdir of `jrt_jax.train`, by either name. The
      harness names the folder of results after `pretrained`, else randomly.
    tokenizer: the path of its tokenizer, if it has moved since training.
    batch_size: how many requests are read at once; 'auto' is 8.
    short_prompt, long_prompt: see `generation.GenerationSettings`.
    chat_template: a file with the Jinja template that --apply_chat_template
      uses to make prompts of messages; a workdir has none.
    check_leaks: whether `leak_check` checks every request: the scored or the
      generated tokens after its context. A printed line says what was checked.
    device, max_batch_size: accepted because the harness passes them, but not
      used: jax chooses the device.

  Raises:
    FileNotFoundError, ValueError: see `generation.load` and
      `scoring.ScoringSettings`; also if there is no such template, or if not
      exactly one of `pretrained` and `workdir` is given.
  """

  def __init__(
      self,
      pretrained: str | None = None,
      *,
      workdir: str | None = None,
      tokenizer: str | None = None,
      batch_size: int | str = 8,
      short_prompt: str | None = None,
      long_prompt: str = 'head',
      chat_template: str | None = None,
      check_leaks: bool = False,
      device: str | None = None,
      max_batch_size: int | None = None,
  ):
    del device, max_batch_size
    super().__init__()
    if bool(pretrained) == bool(workdir):
      raise ValueError(
          'either workdir=DIR or pretrained=DIR must be given, got'
          f' {workdir=} and {pretrained=}'
      )
    self._settings = scoring.ScoringSettings(
        _number_of_rows(batch_size), short_prompt, long_prompt
    )
    self._check_leaks = check_leaks
    self._template = None
    if chat_template:
      self._template = pathlib.Path(chat_template).read_text()
    self.model = generation.load(pretrained or workdir, tokenizer=tokenizer)

  @property
  def origin(self) -> dict[str, Any]:
    """The model and how it reads, to make results repeatable."""
    return {
        'step': self.model.step,
        'fingerprint': self.model.fingerprint,
        'prefix': self.model.config['prefix']['name'],
        'prefix_capacity': self.model.prefix_capacity,
        **dataclasses.asdict(self._settings),
    }

  @property
  def eot_token_id(self) -> int:
    return self.model.tokenizer.eos_id

  @property
  def tokenizer_name(self) -> str:
    return self.model.tokenizer.fingerprint

  def tok_encode(
      self, string: str, add_special_tokens: bool | None = None, **unused: Any
  ) -> list[int]:
    del add_special_tokens, unused  # our tokenizers add none
    return self.model.tokenizer.encode(string).tolist()

  def chat_template(self, chat_template: bool | str = False) -> str:
    del chat_template  # would choose among several templates
    if self._template is None:
      raise ValueError(
          '--apply_chat_template needs chat_template=FILE in --model_args, a'
          ' Jinja template'
      )
    return self._template

  def apply_chat_template(
      self,
      chat_history: list[dict[str, str]],
      add_generation_prompt: bool = True,
  ) -> str:
    # The same settings as in transformers, for which templates are written.
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(self.chat_template()).render(
        messages=chat_history, add_generation_prompt=add_generation_prompt
    )

  def loglikelihood_rolling(
      self, requests: Sequence[instance.Instance], disable_tqdm: bool = False
  ) -> list[float]:
    """Scores whole texts, in windows as long as the sequences of training.

    The first window is scored completely. In each later window, the first half
    is context and the second half is scored.
    """
    del disable_tqdm
    pairs, owners = [], []
    for owner, request in enumerate(requests):
      tokens = self.tok_encode(request.args[0])
      size = self.model.config['sequence_length']
      for start, first, end in scoring.windows(len(tokens), size):
        pairs.append(
            (self.model.context(tokens[start:first]), tokens[first:end])
        )
        owners.append(owner)
    totals = [0.0] * len(requests)
    for owner, score in zip(owners, self._score(pairs), strict=True):
      totals[owner] += score.log_likelihood
    for request, total in zip(requests, totals):
      self.cache_hook.add_partial('loglikelihood_rolling', request.args, total)
    return totals

  def generate_until(
      self, requests: Sequence[instance.Instance], disable_tqdm: bool = False
  ) -> list[str]:
    """Continues contexts until one of the texts in `until`.

    Sampling for a request depends on its text and on how often the text has
    occurred before in the call, not on the batch.

    Raises:
      ValueError: an argument of the generation is unknown or out of range.
    """
    del disable_tqdm
    groups, prompts, seeds = {}, [], _seeds([x.args[0] for x in requests])
    for i, request in enumerate(requests):
      context, arguments = request.args
      groups.setdefault(self._generation(arguments), []).append(i)
      prompts.append(self.model.context(self.tok_encode(context)))
    texts, drawn = [''] * len(requests), [None] * len(requests)
    with progress_bar(total=len(texts), desc='generating') as bar:
      for settings, at in groups.items():
        at.sort(key=lambda i: -len(prompts[i]))
        for batch in self._batches(at):
          found = generation.generate(
              self.model,
              [prompts[i] for i in batch],
              settings,
              seeds=[seeds[i] for i in batch],
          )
          for i, completion in zip(batch, found):
            texts[i], drawn[i] = completion.text, completion.tokens
            self.cache_hook.add_partial(
                'generate_until', requests[i].args, texts[i]
            )
          bar.update(len({*batch}))
    self._check([*zip(prompts, drawn)], 'drawn')
    return texts

  def _loglikelihood_tokens(self, requests, disable_tqdm=False):
    del disable_tqdm
    pairs = [
        (self.model.context(context), after) for _, context, after in requests
    ]
    scores = [tuple(score) for score in self._score(pairs)]
    for (arguments, _, _), score in zip(requests, scores):
      self.cache_hook.add_partial('loglikelihood', arguments, score)
    return scores

  def _score(self, pairs):
    self._check(pairs, 'scored')
    return scoring.score(self.model, pairs, self._settings)

  def _check(self, pairs, what):
    """Raises ValueError for a leak, if asked to check; prints what it read."""
    if not self._check_leaks or not pairs:
      return
    moved = [
        leak_check.leak_check(
            lambda *both: scoring.logits(
                self.model, *both, settings=self._settings
            ),
            context,
            np.asarray(following[:_CHECKED]),
            num_ids=self.model.tokenizer.size,
        )
        for context, following in progress_bar(pairs, 'checking for leaks')
        if len(following)
    ]
    print(
        f'no leaks in the first {_CHECKED} tokens of {len(moved)} {what} texts'
        f' ({len(pairs) - len(moved)} more are empty): other tokens moved the'
        f' logits before them by {max(moved, default=0.0):.2g} at most',
        flush=True,
    )

  def _batches(self, at):
    """Batches of one shape: the last request pads the last batch."""
    size = min(len(at), self._settings.batch_size)
    at = at + at[-1:] * (-len(at) % size)
    return [at[i : i + size] for i in range(0, len(at), size)]

  def _generation(
      self, arguments: Mapping[str, Any]
  ) -> generation.GenerationSettings:
    """The settings of a task; texts are sampled only if do_sample is true."""
    given = dict(arguments)
    stop = given.pop('until', None) or ()
    drawn = {
        name: given.pop(name)
        for name in ('temperature', 'top_k', 'top_p', 'repetition_penalty')
        if name in given
    }
    if given.pop('do_sample', False):
      drawn.setdefault('temperature', 1.0)
    else:
      drawn['temperature'] = 0.0
    max_tokens = given.pop('max_gen_toks', _MAX_TOKENS)
    if given:
      raise ValueError(
          'generation takes until, max_gen_toks, do_sample, temperature, top_k,'
          f' top_p and repetition_penalty, got {sorted(given)}'
      )
    return generation.GenerationSettings(
        generation.Sampling(**drawn),
        max_tokens=max_tokens,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        short_prompt=self._settings.short_prompt,
        long_prompt=self._settings.long_prompt,
    )


def _number_of_rows(batch_size):
  """The batch size of the harness's argument: a number, 'auto' or 'auto:N'."""
  if str(batch_size).startswith('auto'):
    return scoring.ScoringSettings().batch_size
  if not str(batch_size).isdecimal():
    raise ValueError(f'batch_size must be a number or auto, got {batch_size!r}')
  return int(batch_size)


def _seeds(texts):
  """A seed for each text; repeated texts get different seeds."""
  count, seeds = collections.Counter(), []
  for text in texts:
    seeds.append(zlib.crc32(f'{count[text]} {text}'.encode()) >> 1)  # < 2**31
    count[text] += 1
  return seeds
