"""An exported model is trained with other people's tools."""

import numpy as np
import pytest

from configs import base
from jrt_jax.interchange import hugging_face

pytestmark = pytest.mark.hf

TEXT = 'the cat sat on the mat. '


@pytest.fixture(autouse=True)
def _gradients(needs_torch):
  import torch

  with torch.enable_grad():
    yield


@pytest.fixture
def tokenizer(pair):
  import transformers

  return transformers.AutoTokenizer.from_pretrained(
      pair.folder, trust_remote_code=True
  )


@pytest.fixture
def model(pair):
  """The exported model, loaded anew."""
  import transformers

  return transformers.AutoModelForCausalLM.from_pretrained(
      pair.folder, trust_remote_code=True
  )


@pytest.fixture
def settings(tmp_path):
  """What a short run of a trainer is told."""
  return {
      'output_dir': str(tmp_path / 'run'),
      'per_device_train_batch_size': 2,
      'max_steps': 8,
      'learning_rate': 0.03,
      'logging_steps': 1,
      'report_to': 'none',
      'use_cpu': True,
      'disable_tqdm': True,
  }


@pytest.fixture
def lora():
  import peft

  return peft.LoraConfig(
      task_type='CAUSAL_LM',
      r=4,
      target_modules=['in_proj', 'proj_k_enc', 'qkv', 'fc1'],
  )


def first_and_last_loss(trainer):
  losses = [row['loss'] for row in trainer.state.log_history if 'loss' in row]
  return losses[0], losses[-1]


def loss_of(model, tokenizer):
  batch = tokenizer([TEXT * 2], return_tensors='pt')
  return model.eval()(**batch, labels=batch['input_ids']).loss.item()


def test_trainer_lowers_the_loss_and_what_it_saves_is_read(
    model, tokenizer, settings, tmp_path
):
  import transformers

  trainer = transformers.Trainer(
      model,
      transformers.TrainingArguments(**settings),
      train_dataset=[tokenizer(TEXT * n) for n in (1, 2)] * 4,
      processing_class=tokenizer,
      data_collator=transformers.DataCollatorForLanguageModeling(
          tokenizer, mlm=False
      ),
  )
  trainer.train()
  first, last = first_and_last_loss(trainer)
  assert last < 0.8 * first
  trainer.save_model(tmp_path / 'saved')
  loaded = transformers.AutoModelForCausalLM.from_pretrained(
      tmp_path / 'saved', trust_remote_code=True
  )
  expected = loss_of(trainer.model, tokenizer)
  assert loss_of(loaded, tokenizer) == pytest.approx(expected, rel=1e-5)
  config, params = hugging_face.read(
      tmp_path / 'saved', base.get_config().to_dict()
  )
  assert config['model']['mixers'] == model.config.model['mixers']
  weight = trainer.model.model.final_norm.weight.detach()
  np.testing.assert_array_equal(params['final_norm.scale'], weight)


def test_trl_fine_tunes_adapters_of_peft(
    model, tokenizer, settings, lora, tmp_path
):
  import datasets
  import peft
  import transformers
  import trl

  arguments = trl.SFTConfig(**settings, max_length=32, bf16=False)
  trainer = trl.SFTTrainer(
      model,
      arguments,
      train_dataset=datasets.Dataset.from_dict({'text': [TEXT, TEXT * 2] * 4}),
      processing_class=tokenizer,
      peft_config=lora,
  )
  trainer.train()
  first, last = first_and_last_loss(trainer)
  assert last < first
  trainer.save_model(tmp_path / 'adapter')
  loaded = peft.PeftModel.from_pretrained(
      transformers.AutoModelForCausalLM.from_pretrained(
          model.name_or_path, trust_remote_code=True
      ),
      tmp_path / 'adapter',
  )
  expected = loss_of(trainer.model, tokenizer)
  assert loss_of(loaded, tokenizer) == pytest.approx(expected, rel=1e-5)
  batch = tokenizer(['a', 'def f('], padding=True, return_tensors='pt')
  given = {'max_new_tokens': 8, 'prefix_len': 2}
  np.testing.assert_array_equal(
      loaded.generate(**batch, **given),
      loaded.merge_and_unload().generate(**batch, **given),
  )


@pytest.mark.parametrize('use_reentrant', [False, True])
def test_checkpointed_layers_have_the_same_gradients(model, use_reentrant):
  import torch

  model.train()
  ids = torch.arange(26)[None]

  def gradients():
    model.zero_grad()
    model(ids, labels=ids, prefix_len=4).loss.backward()
    return {name: x.grad.clone() for name, x in model.named_parameters()}

  expected = gradients()
  model.gradient_checkpointing_enable({'use_reentrant': use_reentrant})
  if use_reentrant:
    model.enable_input_require_grads()
  calls = []
  for layer in model.model.layers:
    layer.mixer.register_forward_hook(lambda *_: calls.append(1))
  torch.testing.assert_close(gradients(), expected)
  assert len(calls) == 2 * len(model.model.layers)  # forward and again
