"""Questions about a context that a run is asked now and then while it trains.

An answer counts as recalled if, after the prompt, each of its tokens is the
likeliest: greedy generation would begin with it. That takes no generation, only
one reading of prompts and answers. The questions are the same in all runs, so
that their curves can be compared.
"""

from collections.abc import Callable, Mapping, Sequence
import itertools
from typing import Any

import numpy as np

from jrt_jax import generation
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.evaluation.language_models import jrt
from jrt_jax.evaluation.language_models.protocol import LanguageModel
from jrt_jax.evaluation.recall import tasks
from jrt_jax.evaluation.recall.example import Example
from jrt_jax.prompting import prompts
from jrt_jax.prompting.templates import Parts

Probe = Callable[[Mapping[str, Any]], dict[str, float]]

_SYLLABLES = [*map(''.join, itertools.product('bdfgklmnprstvz', 'aeiou'))]


def make(config: Mapping[str, Any], tokenizer: Any) -> Probe | None:
  """Returns what probes the weights of a run; None if it is not to be probed.

  Args:
    config: of the run, as `Run` has completed it.
    tokenizer: of the run.

  Returns:
    a function of weights by name, on one device, to metrics: by kind of prompt
    `recall_<kind>`, the share of questions with an answer that is recalled, and
    `answer_loss_<kind>`, nats per token of their likeliest answers; and
    `recall_chance`, what a guess among the answers of a context would recall,
    where that is known: of the questions that are drawn here.

  Raises:
    OSError: the questions cannot be read.
    ValueError: one is not as `tasks.find_task` says, or there is none; or the
      run has no text.
  """
  probes = config['probes']
  if not probes['every']:
    return None
  if isinstance(tokenizer, split_lib.Ids):
    raise ValueError(
        'config.probes.every must be 0 where the data are ids and no text, got'
        f' {probes["every"]}'
    )
  examples = _examples(probes)

  def probe(params):
    model = jrt.Jrt(generation.Model(config, params, tokenizer), name='probe')
    metrics = {} if probes['path'] else {'recall_chance': 1 / probes['pairs']}
    for kind in probes['prompts']:
      recalled, loss = ask(model, examples, kind)
      metrics |= {f'recall_{kind}': recalled, f'answer_loss_{kind}': loss}
    return metrics

  return probe


def ask(
    model: LanguageModel, examples: Sequence[Example], kind: str
) -> tuple[float, float]:
  """Returns the share of answers that are recalled, and their loss.

  Args:
    model: that scores continuations.
    examples: with `answers`, of which one suffices.
    kind: a key of `prompts.PROMPTS`.

  Returns:
    a share, and nats per token, of the likeliest answer to each question.
  """
  pairs = [
      (prompts.prompt(kind, x.once, x.again), _continuation(answer))
      for x in examples
      for answer in x.answers
  ]
  scores = iter(model.log_likelihood(pairs))
  recalled, losses = [], []
  for example in examples:
    found = [*itertools.islice(scores, len(example.answers))]
    recalled.append(any(score.is_greedy for score in found))
    losses.append(min(-x.log_likelihood / x.num_tokens for x in found))
  return float(np.mean(recalled)), float(np.mean(losses))


def pairs_of_words(count: int, pairs: int, seed: int = 0) -> list[Example]:
  """Returns questions about contexts like 'kavomi is 482. dulefa is 119.'

  Args:
    count: of contexts, each of which is asked about one of its pairs.
    pairs: of a name and a number, in a context; none comes twice.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  return [_pairs_of_words(rng, pairs) for _ in range(count)]


def _pairs_of_words(rng, pairs):
  S = len(_SYLLABLES)
  names = rng.choice(S**3, pairs, replace=False)
  values = 100 + rng.choice(max(900, pairs), pairs, replace=False)
  names = [
      ''.join(_SYLLABLES[i] for i in np.unravel_index(name, (S, S, S)))
      for name in names
  ]
  context = ' '.join(f'{name} is {x}.' for name, x in zip(names, values))
  i = rng.integers(pairs)
  question = f'{names[i]} is'
  parts = Parts(question, context, question, f'{context} {question}')
  return Example('', parts, parts, (str(values[i]),))


def _examples(probes):
  path, count = probes['path'], probes['count']
  if not path:
    return pairs_of_words(count, probes['pairs'])
  try:
    found = [*tasks.examples(path, tokenizer=None, limit=count)]
  except (ValueError, OSError) as error:
    kind = OSError if isinstance(error, OSError) else ValueError
    raise kind(f'config.probes.path: {error}') from error
  if not found or not all(example.answers for example in found):
    raise ValueError(
        f'config.probes.path must have questions with answers, {path!r} has'
        f' {"others" if found else "none"}'
    )
  return found


def _continuation(answer):
  return answer if answer[0].isspace() else f' {answer}'
