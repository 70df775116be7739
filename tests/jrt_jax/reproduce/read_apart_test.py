import numpy as np

from jrt_jax import models
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import read_apart
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import documents


def test_answers_of_a_first_layer_do_not_depend_on_the_documents():
  job = documents.EXHIBIT.plan(exhibit.Request('cpu'), {})[0]
  settings = {**job.settings, 'overrides': dict(job.settings['overrides'])}
  settings['overrides'] |= {'model.mixers': ('pla',)}
  config = training.config(settings)
  config['model']['vocab_size'] = 64
  split = split_lib.Split('mqar', config['data']['synthetic'], held_out=True)
  samples = [split.draw(i, None, batch_size=1) for i in range(64)]
  model = models.build(config['model'])
  found = [read_apart.accuracy(model, samples, n) for n in (1, 2, 8)]
  assert found[0] > 0 and len({*np.round(found, 6)}) == 1
