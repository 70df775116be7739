"""A training run before it trains: what its config and workdir stand for."""

from collections.abc import Mapping
import contextlib
import functools
import pathlib
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from configs import base
from jrt_jax import models
from jrt_jax.cost import layout
from jrt_jax.data import objectives
from jrt_jax.data import pipeline
from jrt_jax.data.synthetic import examples
from jrt_jax.data.synthetic import split as split_lib
from jrt_jax.data.synthetic import tasks
from jrt_jax.models import decode
from jrt_jax.models import sampling
from jrt_jax.prefix import fitting
from jrt_jax.prefix import policies
from jrt_jax.reporting import report
from jrt_jax.reporting import throughput
from jrt_jax.reporting import wandb_log
from jrt_jax.runtime import distributed
from jrt_jax.runtime import failures
from jrt_jax.runtime import folder_lock
from jrt_jax.runtime import sharding
from jrt_jax.training import abstract
from jrt_jax.training import answers
from jrt_jax.training import checkpoint
from jrt_jax.training import evaluation
from jrt_jax.training import kernels
from jrt_jax.training import resilience
from jrt_jax.training import train_state
from jrt_jax.training import workdirs
from pallas_kernels.prefix_linear_attention import mosaic_sm90_tiles


class Run:
  """Making one checks the config, reads the data and takes the workdir.

  A context manager, which waits for checkpoints and gives the workdir back.

  Args:
    config: plain nested dicts with the keys of `configs/base.py`.
    workdir: where the run is recorded; a run that is there is continued.
    allow_config_change: whether it may continue with another config.
    choice: what computes linear attention, from `kernels.of_run`; None: what
      the config says.

  Attributes:
    model: `config.model` as it is computed here.

  Raises:
    ValueError: the config is wrong, or not that of the run in `workdir`.
    OSError: the data cannot be read.
  """

  def __init__(
      self,
      config: Mapping[str, Any],
      workdir: str | pathlib.Path,
      *,
      allow_config_change: bool = False,
      choice: kernels.Choice | None = None,
  ):
    _check(config)
    self.mesh = sharding.make_mesh(config['mesh'])
    self.tokenizer = pipeline.load_tokenizer(config['data'])
    model = pipeline.with_vocabulary(
        config['model'], self.tokenizer, config['objective']
    )
    config = {**config, 'model': model}
    self._choice = choice or kernels.Choice(model['implementation'])
    self.model = {**model, 'implementation': self._choice.implementation}
    _check_kernels(self.model['implementation'], self.mesh)
    self.steps, self._abstract_params = abstract.steps(
        {**config, 'model': self.model}, self.mesh
    )
    shapes = {name: x.shape for name, x in self._abstract_params.items()}
    layout.check_model(self.model, shapes, self.mesh.shape)
    self.workdir = pathlib.Path(workdir)
    with failures.shared():  # each process looks at other files
      splits = pipeline.splits(
          config['data'],
          self.tokenizer,
          share=(jax.process_index(), jax.process_count()),
      )
    with failures.shared():  # one process measures, or reads the file
      prefix = distributed.from_first(
          lambda: self._fitted_prefix(config, splits['train'])
      )
    self.config = config = {**config, 'prefix': prefix}
    self._held_out = splits['validation']
    self._is_text = not isinstance(self._held_out, split_lib.Split)
    self.train_tokens = len(splits['train']) if self._is_text else None
    self.mean_prefix = pipeline.mean_prefix(
        splits['train'],
        sequence_length=config['sequence_length'],
        prefix=prefix,
        packing=config['data']['packing'],
        eos_id=self.tokenizer.eos_id,
        repeat=config['data']['repeat'],
    )
    self._data_fingerprint = _fingerprint(self.tokenizer, splits['train'])
    with failures.shared():
      self._compare_data()
    self._share = sharding.share_of_batch(self.mesh)
    self._training_split = splits['train']
    self.data = self._training_data()
    kind = evaluation.Evaluation if self._is_text else answers.Answers
    self.evaluation = kind(
        config,
        self.tokenizer,
        self._held_out,
        rows=config['batch_size'] // self.steps.accumulation,
        put=functools.partial(sharding.put_whole_batch, mesh=self.mesh),
    )
    with contextlib.ExitStack() as stack:
      distributed.from_first(
          lambda: self._take_workdir(stack, allow_config_change)
      )
      with failures.shared():
        resilience.check_shared(self.workdir)
      self.checkpoints = stack.enter_context(
          checkpoint.Checkpoints(
              self.workdir,
              keep=config['keep_checkpoints'],
              keep_every=config['keep_every'],
          )
      )
      self._held = stack.pop_all()

  def __enter__(self) -> 'Run':
    return self

  def __exit__(self, *_) -> None:
    self._held.close()

  def _fitted_prefix(self, config, stream):
    if checkpoint.exists(self.workdir):  # a run that will be continued
      record = self.workdir / 'config.json'
      if prefix := fitting.recorded(config['prefix'], record):
        return prefix
    return fitting.fitted(
        config['prefix'],
        stream,
        sequence_length=config['sequence_length'],
        tokenizer=self.tokenizer.fingerprint,
    )

  def _compare_data(self):
    first = distributed.from_first(lambda: self._data_fingerprint)
    if self._data_fingerprint != first:
      raise ValueError(
          'config.data must be the same for every process, got'
          f' {self._data_fingerprint} here and {first} in process 0'
      )

  def _take_workdir(self, stack, allow_config_change):
    resilience.check_workdir(self.workdir)
    stack.enter_context(folder_lock.held(self.workdir, '--workdir'))
    if not checkpoint.exists(self.workdir):
      resilience.forget_config(self.workdir)  # there is no run to continue
      kernels.forget(self.workdir)
      kernels.record(self.workdir, self._choice)
    resilience.record_config(
        self.workdir, self.config, allow_change=allow_config_change
    )

  def plan(self) -> str:
    """What the run will do, one fact a line; a warning if it is hopeless."""
    dtype = self.config['model']['dtype']
    return report.plan(
        self.config,
        mesh=self.mesh,
        accumulation=self.steps.accumulation,
        tokenizer=self.tokenizer,
        train_tokens=self.train_tokens,
        data_rate=self._data_rate(),
        mean_prefix=self.mean_prefix,
        matmul_rate=throughput.matmul_rate(self.mesh, dtype),
    )

  def put(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Places this process's rows of a batch on the devices."""
    return sharding.put_batch(batch, self.mesh)

  def abstract_state(self) -> train_state.TrainState:
    """Shapes, dtypes and shardings of the state, which takes no memory."""
    return abstract.state(self.steps, self._abstract_params, self.mesh)

  def start(self) -> tuple[train_state.TrainState, str]:
    """Returns the state to train from, and where it came from, in words.

    That is the newest checkpoint of the workdir, whose place in the data is
    taken too; or the weights of `init_from`; or initial weights.

    Raises:
      ValueError: no checkpoint is intact, or it is of another model.
      FileNotFoundError: there is none in `init_from`.
    """
    empty = self.abstract_state()
    shardings = jax.tree.map(lambda x: x.sharding, empty)
    restored = self.checkpoints.restore_latest(empty)
    if restored is not None:
      state, place = restored
      self._continue_at(place)
      return state, f'resuming from step {int(state.step)} in {self.workdir}'
    first_state = jax.jit(self._first_state, out_shardings=shardings)
    if source := self.config['init_from']:
      try:
        params, step = workdirs.load_params(source, empty.params)
      except FileNotFoundError as error:
        raise FileNotFoundError(f'config.init_from: {error}') from error
      except ValueError as error:
        raise ValueError(
            f'config.init_from: {error}; --from={source} in place of --config'
            ' takes its model as well'
        ) from error
      return first_state(params), f'weights of step {step} in {source}'
    build = functools.partial(
        models.build, self.config['model'], self.config['seed']
    )
    init = jax.jit(
        lambda: models.split(build())[1], out_shardings=shardings.params
    )
    return first_state(init()), f"seed {self.config['seed']}"

  def place(self) -> dict[str, Any]:
    """Where the run is in its data, for a checkpoint: JSON."""
    return {
        'data': self._data_fingerprint,
        'iterator': self.data.get_state(),
    }

  def sample(self, params: train_state.Params) -> tuple[str, str] | None:
    """Returns the end of a held-out prompt, and how the model continues it.

    None if the data are no text.
    """
    if not self._is_text:
      return None
    L = self.config['sequence_length']
    longest = policies.longest_prefix(self.config['prefix'], L)
    length = longest if 0 < longest < L else -(-L // 2)
    prompt = self._held_out[:length].astype(np.int32)
    prefix_len = policies.of_prompt(prompt, self.config['prefix'], L)
    tokens = decode.continue_prompts(
        self.steps.merge,
        params,
        prompt[None],
        np.full(1, prefix_len, np.int32),
        jax.random.key(self.config['seed']),
        num_tokens=self.config['sample_tokens'],
        num_ids=self.tokenizer.size,
        sampling=sampling.FOR_TEXT,
    )
    tokens = multihost_utils.process_allgather(tokens, tiled=True)
    before, after = map(self.tokenizer.decode, (prompt[-100:], tokens[0]))
    return before, after

  def _training_data(self):
    config = self.config
    return pipeline.batches(
        self._training_split,
        sequence_length=config['sequence_length'],
        batch_size=config['batch_size'],
        objective=config['objective'],
        prefix=config['prefix'],
        num_ids=self.tokenizer.size,
        mask_id=config['model']['mask_id'],
        seed=config['seed'],
        training=True,
        packing=config['data']['packing'],
        repeat=config['data']['repeat'],
        eos_id=self.tokenizer.eos_id,
        num_threads=config['data']['num_threads'],
        share=self._share,
    )

  def _data_rate(self):
    """Tokens a second that all processes can read, by the pace of this one."""
    _, parts = self._share
    return parts * pipeline.tokens_per_second(self._training_data())

  def _continue_at(self, place):
    if place['data'] != self._data_fingerprint:
      raise ValueError(
          f'config.data must be what {self.workdir} was trained on,'
          f" {place['data']}, got {self._data_fingerprint}: use another"
          f' --workdir, and --config.init_from={self.workdir} for its weights'
      )
    self.data.set_state(place['iterator'])

  def _first_state(self, params):
    return train_state.init(params, self.steps.optimizer)


def _check(config):
  """Raises ValueError for what no part of the run would notice in time."""
  base.check(config)
  data = config['data']
  source, packing = data['source'], data['packing']
  if source in tasks.TASKS:
    examples.check(source, config['prefix'], packing, data['repeat'])
  if config['prefix']['name'] == 'entropy' and packing == 'documents':
    raise ValueError(
        "config.prefix.name must not be 'entropy' with config.data.packing="
        f'{packing!r}: its thresholds are of whole windows, and it would'
        ' measure the first document only'
    )
  objectives.check(
      config['objective'], config['prefix'], config['sequence_length']
  )
  wandb_log.check(config['wandb_project'])


def _check_kernels(implementation, mesh):
  device = mesh.devices.flat[0]
  capability = getattr(device, 'compute_capability', None)
  needs_hopper = implementation.startswith('mosaic_sm90')
  if needs_hopper and not mosaic_sm90_tiles.is_hopper(capability):
    raise ValueError(
        'config.model.implementation must be auto, chunked or reference on'
        f' {device.device_kind} devices, which are no Hopper GPUs, got'
        f' {implementation}'
    )


def _fingerprint(tokenizer, stream):
  """Tells other text and other tokenizers apart."""
  return f'{stream.fingerprint} of tokenizer {tokenizer.fingerprint}'
