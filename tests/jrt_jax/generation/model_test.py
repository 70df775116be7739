import dataclasses
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jrt_jax import generation
from jrt_jax import models
from jrt_jax.cost.kernels import KERNELS_OR_CHUNKED
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import kernels
from jrt_jax.training import workdirs


@pytest.fixture(scope='module')
def small(make_model):
  return make_model(('conv',))


@pytest.fixture
def workdir(tmp_path, small):
  path = tmp_path / 'run'
  workdirs.write(path, small.config, small.params, origin='a test')
  return path


def test_a_run_is_loaded_as_it_was_saved(workdir, small):
  model = generation.load(workdir)
  assert model.fingerprint == small.fingerprint
  assert model.prefix_capacity == model.block == 8
  assert (
      models.split(model.merge(model.params))[1].keys() == model.params.keys()
  )


@pytest.fixture
def choose(workdir, monkeypatch):
  """A function that loads the run where kernels are chosen so.

  It returns the model, and what was called in order.
  """

  def choose(*choice, trained='auto', **options):
    calls = []

    def called(name, function):
      def call(*arguments):
        calls.append(name)
        return function(*arguments)

      return call

    config = workdirs.read_config(workdir)
    config['model']['implementation'] = trained
    (workdir / 'config.json').write_text(json.dumps(config))
    chosen = kernels.Choice(*choice)
    read = workdirs.read_params
    with monkeypatch.context() as patch:
      patch.setattr(kernels, 'here', called('choose', lambda _: chosen))
      patch.setattr(workdirs, 'read_params', called('open', read))
      return generation.load(workdir, **options), calls

  return choose


@pytest.mark.parametrize('trained', ['auto', 'mosaic_sm90', KERNELS_OR_CHUNKED])
def test_kernels_are_chosen_for_this_machine_before_a_device_is_opened(
    choose, trained, capsys
):
  model, calls = choose('chunked', 'it hangs', trained=trained)
  assert calls == ['choose', 'open']
  assert model.implementation == 'chunked'
  told = 'linear attention: chunked, because it hangs\n'
  assert capsys.readouterr() == ('', told)
  assert choose('auto')[0].implementation == 'auto'
  assert capsys.readouterr() == ('', '')


def test_what_a_run_names_or_the_caller_is_taken_without_a_question(choose):
  model, calls = choose('chunked', 'it hangs', trained='reference')
  assert (model.implementation, calls) == ('reference', ['open'])
  model, calls = choose('chunked', 'it hangs', implementation='auto')
  assert (model.implementation, calls) == ('auto', ['open'])


def test_one_weight_makes_another_fingerprint(small):
  name = 'final_norm.scale'
  params = small.params | {name: small.params[name].at[0].add(1e-3)}
  other = generation.Model(small.config, params, small.tokenizer)
  assert other.fingerprint != small.fingerprint


def test_a_model_without_a_prefix_reads_in_blocks_all_the_same(small):
  config = {**small.config, 'prefix': {'name': 'none', 'capacity': 0.5}}
  model = generation.Model(config, small.params, small.tokenizer)
  assert (model.prefix_capacity, model.block) == (0, 16)


def test_weights_are_served_as_products_round_them(make_model):
  feature_map = {'name': 'hedgehog', 'feature_dim': 4}
  model = make_model(
      ('conv', 'pla', 'swa'), dtype='bfloat16', feature_map=feature_map
  )
  in_bfloat16 = {
      name for name, x in model.served.items() if x.dtype == jnp.bfloat16
  }
  assert 'layers.2.mixer.qkv.kernel' in in_bfloat16
  in_bfloat16.remove(models.ROUNDED_TABLE)  # that is also there in float32
  assert all(name.endswith(('.kernel', '.bias')) for name in in_bfloat16)
  merged = model.merge(model.params), model.merge(model.served)
  tokens = np.arange(12)[None]
  expected, served = (jax.jit(m)(tokens) for m in merged)
  np.testing.assert_array_equal(served, expected)


def test_a_loaded_model_keeps_no_weights_but_those_that_it_serves(
    make_model, tmp_path
):
  model = make_model(('conv', 'pla'), dtype='bfloat16')
  workdirs.write(tmp_path, model.config, model.params, origin='a test')
  loaded = generation.load(tmp_path)
  assert loaded.params.keys() == loaded.served.keys()
  for name, x in loaded.served.items():
    kept = loaded.params[name].unsafe_buffer_pointer()
    assert x.unsafe_buffer_pointer() == kept, name
  assert loaded.params['layers.1.mixer.proj_q.kernel'].dtype == jnp.bfloat16
  assert loaded.fingerprint == model.fingerprint
  exact = generation.load(tmp_path, exact=True).params
  assert exact.keys() == model.params.keys()
  for name, x in exact.items():
    np.testing.assert_array_equal(x, model.params[name])


def test_ids_of_prompts_are_int32(small):
  for prompt in ('hi', [104, 105], np.array([104, 105], np.uint8)):
    ids = small.encode(prompt)
    assert ids.tolist() == [104, 105] and ids.dtype == np.int32


def test_a_run_without_a_checkpoint_is_named(tmp_path, small):
  (tmp_path / 'config.json').write_text(json.dumps(small.config))
  with pytest.raises(FileNotFoundError, match='there is no checkpoint in'):
    generation.load(tmp_path)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(tmp_path, small):
  config = {**small.config, 'model': small.config['model'] | {'vocab_size': 9}}
  params = models.split(models.build(config['model']))[1]
  workdirs.write(tmp_path, config, params, origin='a test')
  with pytest.raises(ValueError, match='has 9 ids, got one with 257'):
    generation.load(tmp_path)


def test_a_run_on_data_without_text_is_refused(tmp_path, small):
  config = {**small.config, 'data': {'tokenizer': 'bytes', 'source': 'mqar'}}
  workdirs.write(tmp_path, config, small.params, origin='a test')
  message = "must be that of a run on text, got .*, which was trained on 'mqar'"
  for tokenizer in (None, 'bytes'):
    with pytest.raises(ValueError, match=message):
      generation.load(tmp_path, tokenizer=tokenizer)


def test_a_tokenizer_of_other_text_is_refused(workdir, monkeypatch):
  for tokenizer, fits in (('bytes', True), ('gpt2', False)):
    meta = {'data': f'9 tokens 0a1b of tokenizer {tokenizer}'}
    monkeypatch.setattr(checkpoint_reader, 'load_meta', lambda *_: meta)
    if fits:
      generation.load(workdir)
    else:
      with pytest.raises(
          ValueError, match='--tokenizer must be that of the tr'
      ):
        generation.load(workdir)


def test_a_missing_tokenizer_is_named(workdir):
  with pytest.raises(
      FileNotFoundError, match="'gone.json', which is not a file"
  ):
    generation.load(workdir, tokenizer='gone.json')


def test_prompts_can_be_filled_up_without_a_token_for_spaces(small):
  assert small.pad_id == ord(' ')
  words = types.SimpleNamespace(encode=lambda text: text.split())
  assert dataclasses.replace(small, tokenizer=words).pad_id == 0
