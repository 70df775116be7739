"""Recall questions that a run is asked at intervals while it trains.

An answer counts as recalled if each of its tokens is the likeliest after the
prompt: greedy generation would begin with it. This needs no generation, only
one reading of prompts and answers. All runs are asked the same questions, so
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
  """Returns a function that probes the weights of a run; None without probes.

  Args:
    config: the config of the run, as `Run` has completed it.
    tokenizer: the tokenizer of the run.

  Returns:
    a function from weights by name, on one device, to metrics. For each kind of
    prompt they are `recall_<kind>`, the share of questions with a recalled
    answer, and `answer_loss_<kind>`, in nats per token of the likeliest answer.
    For the generated questions there is also `recall_chance`, the share that a
    guess among the answers of a context would get.

  Raises:
    OSError: the questions cannot be read.
    ValueError: a question does not have the form of `tasks.find_task`, there is
      no question, or the run was not trained on text.
  """
  probes = config['probes']
  if not probes['every']:
    return None
  if isinstance(tokenizer, split_lib.Ids):
    raise ValueError(
        'config.probes.every must be 0 if the data are ids without text, got'
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
  """Returns the share of recalled answers, and their loss.

  Args:
    model: the model that scores the answers.
    examples: questions; one of the `answers` of each must be recalled.
    kind: a key of `prompts.PROMPTS`.

  Returns:
    the share, and the nats per token of the likeliest answer to each question.
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
    count: the number of contexts, with one question about each.
    pairs: the number of pairs of a name and a number in a context, all
      different.
    seed: the random seed.
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
