"""`generate` of an exported model: its texts are those of ours."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from configs import base
from jrt_jax import generation
from jrt_jax.prefix import heuristic
from jrt_jax.prefix import policies
from jrt_jax.prefix.learned import policy

pytestmark = pytest.mark.hf

ROOT = pathlib.Path(__file__).parents[4]
PROMPTS = ['a', 'def f(', 'import os', 'x = [é]', 'class A:\n  b = "12345"\n']


@pytest.fixture(scope='session')
def tokenizer(pair):
  import transformers

  return transformers.AutoTokenizer.from_pretrained(
      pair.folder, trust_remote_code=True
  )


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
  settings = generation.GenerationSettings(**{'max_tokens': 64} | settings)
  completions = generation.generate(pair.ours, prompts, settings)
  return [completion.text for completion in completions]


def test_prompts_in_one_padded_batch_continue_as_ours(pair):
  texts = generate(pair)
  assert texts == generate_ours(pair)
  assert len(set(texts)) > 1


@pytest.mark.parametrize('pad_mask', ['exclude', 'reference'])
@pytest.mark.parametrize(
    'pla',
    [
        {'prefix_reader': 'ridge'},
        {'prefix_reader': 'contracted'},
        {'causal_in_prefix': False},
    ],
)
def test_models_that_read_prefixes_otherwise_continue_as_ours(
    make_pair, pla, pad_mask
):
  mixers = ('conv', 'pla', 'swa', 'pla')
  pair = make_pair(mixers=mixers, pla=pla, pad_mask=pad_mask)
  texts = generate(pair)
  assert texts == generate_ours(pair)
  assert len(set(texts)) > 1
  assert texts == generate(pair, use_cache=False)
  assert texts != generate(make_pair(mixers=mixers, pad_mask=pad_mask))


def test_models_that_fill_short_prefixes_continue_as_ours(make_pair):
  mixers = ('conv', 'pla', 'swa', 'prefix_gdn', 'prefix_mamba2')
  plain, released = (
      make_pair(mixers=mixers, pad_mask=pad_mask)
      for pad_mask in ('exclude', 'reference')
  )
  texts = generate(released)
  assert texts == generate_ours(released)
  assert texts != generate(plain)


@pytest.mark.parametrize('name', policies.fitted_names())
def test_prompts_have_the_prefixes_of_the_policy(make_pair, name):
  texts = [np.array([*prompt.encode()]) for prompt in PROMPTS]
  prefix = base.get_config().prefix.to_dict() | {'name': name, 'increment': 0.4}
  if name == 'entropy':
    prefix['fitted'] = {'thresholds': heuristic.thresholds(texts, prefix)}
  else:
    features = np.array([policy.features(text) for text in texts])
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((features.shape[1] + 1, 3))
    choice = policy.Choice(
        np.array([0.1, 0.3, 0.5]), features.mean(axis=0), np.ones(5), weights
    )
    prefix['fitted'] = policy.to_json(choice)
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


def test_beams_are_those_of_a_prompt_alone(pair):
  settings = {'num_beams': 3, 'num_return_sequences': 2, 'max_new_tokens': 12}
  together = generate(pair, **settings)
  assert len({*together}) > len(PROMPTS)
  for i, prompt in enumerate(PROMPTS):
    assert generate(pair, [prompt], **settings) == together[2 * i : 2 * i + 2]


def test_samples_differ_but_not_those_of_the_likeliest_token(pair):
  settings = {'do_sample': True, 'num_return_sequences': 2}
  assert len({*generate(pair, **settings)}) == 2 * len(PROMPTS)
  likeliest = generate(pair, top_k=1, **settings)
  assert likeliest[::2] == likeliest[1::2] == generate(pair)


def test_a_text_ends_where_a_stop_string_does(pair, tokenizer):
  (whole,) = generate(pair, PROMPTS[-1:])
  stop = [c for c in dict.fromkeys(whole) if c.isascii() and c.isprintable()][
      -1
  ]
  settings = {'stop_strings': [stop], 'tokenizer': tokenizer}
  (text,) = generate(pair, PROMPTS[-1:], **settings)
  assert text == whole[: whole.index(stop) + 1] != whole


def test_a_pipeline_continues_as_ours(pair):
  import transformers

  pipeline = transformers.pipeline(
      'text-generation', model=str(pair.folder), trust_remote_code=True
  )
  settings = {'max_new_tokens': 64, 'do_sample': False}
  settings |= {'return_full_text': False, 'batch_size': len(PROMPTS)}
  done = pipeline(PROMPTS, **settings)
  assert [texts[0]['generated_text'] for texts in done] == generate_ours(pair)


def test_embedded_prompts_continue_as_their_tokens(pair, tokenizer):
  batch = tokenizer(PROMPTS, padding=True, return_tensors='pt')
  mask = batch['attention_mask']
  x = pair.theirs.get_input_embeddings()(batch['input_ids'])
  tokens = pair.theirs.generate(
      inputs_embeds=x, attention_mask=mask, max_new_tokens=12
  )
  texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
  assert texts == generate(pair, max_new_tokens=12)


def test_a_policy_that_looks_at_tokens_needs_them(make_pair):
  import torch

  prefix = {'name': 'entropy', 'fitted': {'thresholds': [0.1, 0.2]}}
  model = make_pair(mixers=('pla',), prefix=prefix).theirs
  x = torch.zeros(1, 9, 16)
  with pytest.raises(ValueError, match='prefix_len must be given'):
    model.generate(inputs_embeds=x, max_new_tokens=1)
  tokens = model.generate(inputs_embeds=x, max_new_tokens=1, prefix_len=3)
  assert tokens.shape == (1, 1)


def test_padding_on_the_right_of_prompts_is_refused(pair, tokenizer):
  batch = tokenizer(
      PROMPTS, padding=True, padding_side='right', return_tensors='pt'
  )
  with pytest.raises(ValueError, match='padding must be on the left'):
    pair.theirs.generate(**batch, max_new_tokens=1)


def test_texts_are_the_ids_that_training_saw(pair, tokenizer):
  for text in (*PROMPTS, ' \r\n a', '<|endoftext|>', '中\0'):
    ids = tokenizer(text)['input_ids']
    np.testing.assert_array_equal(ids, pair.ours.tokenizer.encode(text))
    assert tokenizer.decode(ids) == text


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


def test_a_run_is_exported_by_the_command(start, load_pair, tmp_path):
  workdir, folder = tmp_path / 'run', tmp_path / 'export'
  run = start(workdir, model__vocab_size=258, prefix__name='fixed')
  _, errors = run.communicate()
  assert not run.returncode, errors
  command = [sys.executable, '-m', 'jrt_jax.export', f'--workdir={workdir}']
  subprocess.run([*command, f'--out={folder}'], cwd=ROOT, check=True)
  exported = load_pair(generation.load(workdir), folder)
  assert generate(exported) == generate_ours(exported)
