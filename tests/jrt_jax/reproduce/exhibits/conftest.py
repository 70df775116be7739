"""Answers of models whose scores are known."""

import numpy as np
import pytest

from jrt_jax.evaluation.recall import means
from jrt_jax.reproduce import exhibit

LAYERS = {
    'jrt': ['conv', 'pla', 'swa'],
    'based': ['conv', 'la', 'swa'],
    'attention': ['attention'],
}
EXAMPLES = 200


def estimate(found):
  return dict(zip(('estimate', 'low', 'high', 'n', 'method'), found))


@pytest.fixture
def answers():
  """Makes results of `jrt_jax.recall` of (model, {prompt: score}, settings).

  A score is how many answers are right, or the log-likelihood of a token.
  """

  def one(model, found, **settings):
    likely = settings.get('likelihood')
    metric = 'token_perplexity' if likely else 'contains'
    prompts = {}
    for prompt, x in found.items():
      values = np.arange(EXAMPLES) < x * EXAMPLES
      if likely:
        values = x + np.sin(np.arange(EXAMPLES))
      prompts[prompt] = {
          'metrics': {metric: estimate(means.mean(metric, values))},
          'values': values.astype(float).tolist(),
      }
    kind, seed = model.split('-')
    digest = settings.pop('digest', 'same')
    but_seed = settings.pop('but_seed', kind)
    return exhibit.Done(
        {'file': f'{model}/result.json'},
        {
            'settings': {
                'model': f'workdir:runs/{model}',
                'tasks': ['fda'],
                'context_tokens': [240],
                **settings,
            },
            'results': {
                'fda': {
                    'prompts': prompts,
                    'contexts': [*range(EXAMPLES)],
                    'digest': digest,
                }
            },
            'run': {
                'mixers': LAYERS[kind],
                'seed': int(seed),
                'but_seed': but_seed,
            },
        },
    )

  def make(*rows):
    found = [one(model, shares, **settings) for model, shares, settings in rows]
    return {f'result-{i}': done for i, done in enumerate(found)}

  return make
