"""Exported models in transformers compute and generate what ours do."""

import importlib
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax import models
from jrt_jax.interchange import hugging_face
from jrt_jax.prefix import heuristic
from jrt_jax.prefix import learned
from jrt_jax.prefix import policies
from jrt_jax.training import recorded_config

pytestmark = pytest.mark.hf

ROOT = pathlib.Path(__file__).parents[4]
CONFIGS = sorted(
    path.stem
    for path in (ROOT / 'configs').glob('*.py')
    if path.stem not in ('__init__', 'base')
)
PROMPTS = ['a', 'def f(', 'import os', 'x = [é]', 'class A:\n  b = "12345"\n']
TOLERANCE = {'rtol': 1e-5, 'atol': 1e-5}


def padded(lengths, *, side, seed=0):
  """Returns random ids and mask, [B, max(lengths)]."""
  L = max(lengths)
  ids = np.random.default_rng(seed).integers(256, size=(len(lengths), L))
  mask = np.arange(L) < np.array(lengths)[:, None]
  return ids, mask[:, ::-1].copy() if side == 'left' else mask


def torch_logits(model, ids, **arguments):
  import torch

  arguments = {
      name: torch.tensor(x) if isinstance(x, np.ndarray) else x
      for name, x in arguments.items()
  }
  return model(torch.tensor(ids), **arguments).logits.numpy()


@pytest.mark.parametrize(
    'overrides',
    [
        {},
        {'feature_map': {'name': 'linear', 'feature_dim': 4}}
        | {'normalizer': 'none'},
        {'feature_map': {'name': 'linear', 'feature_dim': 4}},
        {
            'feature_map': {
                'name': 'hybrid_heads',
                'feature_dim': 4,
                'num_features': 6,
                'parts': ('gaussian_rff', 'mlp'),
                'separate_encoder': True,
            }
        },
        {'normalizer': 'clamp', 'rope_fraction': 0.5, 'conv_kernel': 4},
        {'feature_map': {'name': 'taylor_exp', 'feature_dim': 3}}
        | {'window': 1, 'conv_expand': 2, 'rope_fraction': 0.0},
    ],
)
@pytest.mark.parametrize('side', ['left', 'right'])
def test_logits_are_the_same(make_pair, overrides, side):
  pair = make_pair(**overrides)
  ids, mask = padded((13, 9, 4), side=side)
  prefix_len = np.array([5, 0, 4])
  merge, _ = models.abstract(pair.ours.config['model'])
  start = mask.argmax(axis=1) * (prefix_len > 0)

  @jax.jit
  def logits(params):
    return merge(params)(
        jnp.asarray(ids), prefix_len=jnp.asarray(start + prefix_len), mask=mask
    )

  expected = np.asarray(logits(pair.ours.params))
  actual = torch_logits(
      pair.theirs, ids, attention_mask=mask, prefix_len=prefix_len
  )
  scale = np.abs(expected[mask]).max()
  np.testing.assert_allclose(
      actual[mask] / scale, expected[mask] / scale, **TOLERANCE
  )


def test_without_a_prefix_nothing_sees_what_follows_it(pair):
  ids, _ = padded((12,), side='left')
  other = np.concatenate([ids[:, :7], 255 - ids[:, 7:]], axis=1)
  one, two = (torch_logits(pair.theirs, x) for x in (ids, other))
  np.testing.assert_array_equal(one[:, :7], two[:, :7])
  assert (one[:, 7:] != two[:, 7:]).any()
  seen = torch_logits(pair.theirs, ids, prefix_len=12)
  assert not np.allclose(one[:, :7], seen[:, :7], atol=1e-3)


def test_long_texts_are_read_in_chunks(pair):
  import torch

  mixers = sys.modules[type(pair.theirs.layers[0].mixer).__module__]
  ids, mask = padded((2 * mixers.CHUNK + 3, 5), side='left')
  arguments = {'attention_mask': mask, 'prefix_len': mixers.CHUNK + 2}
  whole = torch_logits(pair.theirs, ids, **arguments)
  chunk, mixers.CHUNK = mixers.CHUNK, 3
  try:
    parts = torch_logits(pair.theirs, ids, **arguments)
  finally:
    mixers.CHUNK = chunk
  assert torch.isfinite(torch.tensor(whole)).all()
  np.testing.assert_allclose(parts[mask], whole[mask], rtol=1e-4, atol=1e-4)


def test_reading_in_parts_equals_reading_at_once(pair):
  import torch

  ids, mask = padded((14, 10), side='left')
  given = {'attention_mask': torch.tensor(mask), 'prefix_len': 4}
  whole = torch_logits(pair.theirs, ids, attention_mask=mask, prefix_len=4)
  ids = torch.tensor(ids)
  for split in range(8, 14):
    given['attention_mask'] = torch.tensor(mask[:, :split])
    cache = pair.theirs(ids[:, :split], use_cache=True, **given).past_key_values
    parts = [ids[:, split : split + 1], ids[:, split + 1 :]]
    for part in filter(torch.Tensor.numel, parts):
      output = pair.theirs(part, past_key_values=cache)
      end = cache.get_seq_length()
      np.testing.assert_allclose(
          output.logits,
          whole[:, end - part.shape[1] : end],
          rtol=1e-4,
          atol=1e-4,
      )
    assert end == 14


def test_a_row_is_the_same_alone_and_in_any_batch(pair):
  ids, mask = padded((13, 9, 1), side='left')
  arguments = {'prefix_len': 5}
  together = torch_logits(pair.theirs, ids, attention_mask=mask, **arguments)
  for b, row in enumerate(mask):
    alone = torch_logits(pair.theirs, ids[b : b + 1, row], **arguments)
    np.testing.assert_allclose(alone[0], together[b, row], rtol=1e-5, atol=2e-5)


def test_the_state_has_one_size_at_any_length(make_pair):
  import torch

  def size(cache):
    return sum(x.nbytes for state in cache.states for x in state)

  model = make_pair(mixers=('conv', 'pla', 'swa', 'la')).theirs
  short, long = (
      model(torch.zeros(2, n, dtype=int), use_cache=True).past_key_values
      for n in (1, 40)
  )
  assert size(short) == size(long)
  model(torch.zeros(2, 9, dtype=int), past_key_values=long)
  assert size(short) == size(long)


def test_padding_after_the_tokens_is_refused_where_they_are_continued(pair):
  import torch

  ids, mask = (torch.tensor(x) for x in padded((5, 3), side='right'))
  with pytest.raises(ValueError, match='padding must be on the left'):
    pair.theirs(ids, attention_mask=mask, use_cache=True)


def generate(pair, prompts=PROMPTS, **settings):
  """Returns the texts with which transformers continues prompts."""
  import transformers

  tokenizer = transformers.AutoTokenizer.from_pretrained(
      pair.folder, trust_remote_code=True
  )
  batch = tokenizer(list(prompts), padding=True, return_tensors='pt')
  tokens = pair.theirs.generate(**batch, **{'max_new_tokens': 64} | settings)
  return tokenizer.batch_decode(
      tokens[:, batch['input_ids'].shape[1] :], skip_special_tokens=True
  )


def generate_ours(pair, prompts=PROMPTS, **settings):
  settings = generation.Settings(**{'max_tokens': 64} | settings)
  completions = generation.generate(pair.ours, prompts, settings)
  return [completion.text for completion in completions]


def test_prompts_in_one_padded_batch_continue_as_ours(pair):
  texts = generate(pair)
  assert texts == generate_ours(pair)
  assert len(set(texts)) > 1


def test_models_that_fill_short_prefixes_continue_as_ours(make_pair):
  mixers = ('conv', 'pla', 'swa', 'pla')
  plain, released = (
      make_pair(mixers=mixers, pad_mask=pad_mask)
      for pad_mask in ('exclude', 'reference')
  )
  texts = generate(released)
  assert texts == generate_ours(released)
  assert texts != generate(plain)


@pytest.mark.parametrize('name', policies.FITTED)
def test_prompts_have_the_prefixes_of_the_policy(make_pair, name):
  texts = [np.array([*prompt.encode()]) for prompt in PROMPTS]
  prefix = base.get_config().prefix.to_dict() | {'name': name, 'increment': 0.4}
  if name == 'entropy':
    prefix['fitted'] = {'thresholds': heuristic.thresholds(texts, prefix)}
  else:
    features = np.array([learned.features(text) for text in texts])
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((features.shape[1] + 1, 3))
    choice = learned.Choice(
        np.array([0.1, 0.3, 0.5]), features.mean(axis=0), np.ones(5), weights
    )
    prefix['fitted'] = learned.to_json(choice)
  pair = make_pair(mixers=('conv', 'pla', 'swa', 'pla'), prefix=prefix)
  found = [pair.ours.prefix_len(text) for text in texts]
  assert len({*found}) > 2 and found != [min(8, len(text)) for text in texts]
  texts = generate(pair)
  assert texts == generate_ours(pair)
  assert texts != generate(pair, prefix_len=8)


def test_generation_without_a_cache_gives_the_same(pair):
  for settings in ({}, {'num_beams': 3}, {'prefix_len': 2}):
    settings |= {'max_new_tokens': 12}
    cached, anew = (
        generate(pair, use_cache=use_cache, **settings)
        for use_cache in (True, False)
    )
    assert cached == anew


def test_what_the_prefix_is_changes_the_text(pair):
  prompt = PROMPTS[-1:]
  texts = {generate(pair, prompt, prefix_len=n)[0] for n in (0, 4, 8)}
  assert len(texts) == 3


def test_texts_are_the_ids_that_training_saw(pair):
  import transformers

  tokenizer = transformers.AutoTokenizer.from_pretrained(
      pair.folder, trust_remote_code=True
  )
  for text in (*PROMPTS, ' \r\n a', '<|endoftext|>', '中\0'):
    ids = tokenizer(text)['input_ids']
    np.testing.assert_array_equal(ids, pair.ours.tokenizer.encode(text))
    assert tokenizer.decode(ids) == text


def test_what_transformers_saves_is_read_back(pair, tmp_path):
  import torch

  pair.theirs.save_pretrained(tmp_path)
  config, params = hugging_face.read(tmp_path, pair.ours.config)
  assert config == recorded_config.complete(pair.ours.config)
  for name, x in pair.ours.params.items():
    rows = slice(260 if 'embedding' in name else None)  # others stand for no id
    np.testing.assert_array_equal(params[name][rows], x[rows])
  narrow = type(pair.theirs).from_pretrained(pair.folder, dtype=torch.bfloat16)
  output = narrow(torch.zeros(1, 9, dtype=int), prefix_len=3)
  assert output.logits.dtype == torch.float32
  assert torch.isfinite(output.logits).all()


TASK = """
task: local
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/data.jsonl}}
output_type: generate_until
test_split: test
doc_to_text: "{{text}}"
doc_to_target: "{{value}}"
generation_kwargs: {until: ["e"], max_gen_toks: 8}
metric_list:
- {metric: exact_match, aggregation: mean, higher_is_better: true}
"""


def test_lm_eval_generates_what_we_do(pair, tmp_path):
  lm_eval = pytest.importorskip('lm_eval', reason='lm-eval is missing')
  from lm_eval import tasks

  (tmp_path / 'local.yaml').write_text(TASK.replace('FOLDER', str(tmp_path)))
  prompts = ['a', 'def f(', 'x = [1]']  # with 8 more they fit the sequence
  lines = [json.dumps({'text': text, 'value': text}) for text in prompts]
  (tmp_path / 'data.jsonl').write_text('\n'.join(lines))
  done = lm_eval.simple_evaluate(
      model='hf',
      model_args=f'pretrained={pair.folder},trust_remote_code=True',
      tasks=['local'],
      task_manager=tasks.TaskManager(include_path=str(tmp_path)),
      batch_size=3,
      device='cpu',
  )
  texts = [sample['resps'][0][0] for sample in done['samples']['local']]
  expected = generate_ours(pair, prompts, max_tokens=8, stop=('e',))
  assert texts == expected


@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_has_its_tensors(pair, name):
  import torch

  config = importlib.import_module(f'configs.{name}').get_config().to_dict()
  _, shapes = models.abstract(config['model'])
  zeros = {
      key: np.broadcast_to(np.float32(0), x.shape) for key, x in shapes.items()
  }
  vocab_size = config['model']['vocab_size']
  exported = hugging_face.to_torch(zeros, vocab_size)
  del exported['vocabulary_padding']
  with torch.device('meta'):
    theirs = type(pair.theirs)(pair.theirs.config_class(config['model']))
  assert {key: x.shape for key, x in exported.items()} == {
      key: tuple(x.shape) for key, x in theirs.state_dict().items()
  }


def test_a_run_is_exported_by_the_command(start, load_pair, tmp_path):
  workdir, folder = tmp_path / 'run', tmp_path / 'export'
  run = start(workdir, model__vocab_size=258, prefix__name='fixed')
  _, errors = run.communicate()
  assert not run.returncode, errors
  command = [sys.executable, '-m', 'jrt_jax.export', f'--workdir={workdir}']
  subprocess.run([*command, f'--out={folder}'], cwd=ROOT, check=True)
  exported = load_pair(generation.load(workdir), folder)
  assert generate(exported) == generate_ours(exported)
