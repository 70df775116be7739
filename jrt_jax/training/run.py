"""A training run: its config is checked, its data read, its workdir locked."""

from collections.abc import Mapping
import contextlib
import functools
import os
import pathlib
from typing import Any

import jax
from jax.experimental import multihost_utils
import numpy as np

from jrt_jax import cost
from jrt_jax.cost import layout
from jrt_jax.data import objectives
from jrt_jax.data import vocabulary
from jrt_jax.models import decode
from jrt_jax.models import sampling
from jrt_jax.prefix import policies
from jrt_jax.reporting import report
from jrt_jax.reporting import throughput
from jrt_jax.runtime import distributed
from jrt_jax.runtime import failures
from jrt_jax.runtime import folder_lock
from jrt_jax.runtime import sharding
from jrt_jax.training import abstract
from jrt_jax.training import checkpoint
from jrt_jax.training import checkpoint_reader
from jrt_jax.training import first_weights
from jrt_jax.training import kernels
from jrt_jax.training import recorded_result
from jrt_jax.training import run_check
from jrt_jax.training import run_data
from jrt_jax.training import run_kernels
from jrt_jax.training import run_workdir
from jrt_jax.training import train_state


class Run:
  """A training run; the constructor checks the config and reads the data.

  It also locks the workdir. As a context manager, it waits for checkpoints at
  the end and releases the workdir.

  Args:
    config: plain nested dicts with the keys of `configs/base.py`.
    workdir: the folder of the run; a run in it is continued.
    allow_config_change: whether that run may continue with another config.
    choice: the result of `run_kernels.of_run`; None: that of the config.

  Attributes:
    model: `config.model` with the implementation and dtype of this machine.

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
    run_check.check(config)
    self.mesh = sharding.make_mesh(config['mesh'])
    self.tokenizer: Any = vocabulary.load_tokenizer(config['data'])
    model = vocabulary.with_vocabulary(
        config['model'], self.tokenizer, config['objective']
    )
    config = {**config, 'model': model}
    self._choice = choice or kernels.Choice(model['implementation'])
    self.model = {
        **model,
        'implementation': self._choice.implementation,
        'dtype': _computed_dtype(model['dtype'], self.mesh),
    }
    run_check.check_kernels(self.model['implementation'], self.mesh)
    self.steps, self._abstract_params = abstract.steps(
        {**config, 'model': self.model}, self.mesh
    )
    self._weights = cost.weights(self.model)
    layout.check_model(self.model, self._weights, self.mesh.shape)
    layout.check_rows(config, self.mesh.shape)
    self.workdir = pathlib.Path(workdir)
    self._source = run_data.Data(config, self.tokenizer, self.workdir)
    self.config = config = self._source.config
    self.train_tokens = self._source.train_tokens
    self.mean_prefix = self._source.mean_prefix
    self._share = sharding.share_of_batch(self.mesh)
    self.data = self._source.batches(self._share)
    self.evaluation = self._source.evaluation(
        rows=config['batch_size'] // self.steps.accumulation,
        put=functools.partial(sharding.put_whole_batch, mesh=self.mesh),
    )
    with contextlib.ExitStack() as stack:
      distributed.from_first(
          lambda: self._take_workdir(stack, allow_config_change)
      )
      with failures.shared():
        run_workdir.check_shared(self.workdir)
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

  def _take_workdir(self, stack, allow_config_change):
    run_workdir.check_workdir(self.workdir)
    stack.enter_context(folder_lock.held(self.workdir, '--workdir'))
    if not checkpoint_reader.exists(self.workdir):
      run_workdir.forget_config(self.workdir)  # there is no run to continue
      run_kernels.forget(self.workdir)
    run_kernels.record(self.workdir, self._choice)
    run_workdir.record_config(
        self.workdir, self.config, allow_change=allow_config_change
    )

  def result(self) -> str | None:
    """The result that was printed when the run ended, or None."""
    steps = self.config['steps']
    return distributed.from_first(
        lambda: recorded_result.load(self.workdir, steps, self.config)
    )

  def plan(self) -> str:
    """Returns the plan of the run as text, with a warning if it is hopeless."""
    dtype = self.model['dtype']
    return report.plan(
        self.config,
        mesh=self.mesh,
        accumulation=self.steps.accumulation,
        tokenizer=self.tokenizer,
        train_tokens=self.train_tokens,
        sources=self._source.sources,
        data_rate=self._source.tokens_per_second(self._share),
        mean_prefix=self.mean_prefix,
        has_masks=objectives.has_masks(self.config['objective']),
        dtype=dtype,
        matmul_rate=throughput.matmul_rate(self.mesh, dtype),
    )

  def put(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Places this process's rows of a batch on the devices."""
    return sharding.put_batch(batch, self.mesh)

  def abstract_state(self) -> train_state.TrainState:
    """Returns shapes, dtypes and shardings of the state, without arrays."""
    return abstract.state(
        self.steps, self._abstract_params, self.mesh, self._weights
    )

  def start(self) -> tuple[train_state.TrainState, str]:
    """Returns the state to train from, and where it is from, in words.

    This is the newest checkpoint of the workdir, if there is one; training then
    continues at its place in the data. Otherwise the weights are those of
    `init_from`, or are initialised.

    Raises:
      ValueError: no checkpoint is intact, or it is of another model.
      FileNotFoundError: `init_from` has no checkpoint.
    """
    empty = self.abstract_state()
    shardings = jax.tree.map(lambda x: x.sharding, empty)
    restored = self.checkpoints.restore_latest(empty)
    if restored is not None:
      state, place = restored
      self._continue_at(place)
      return state, f'resuming from step {int(state.step)} in {self.workdir}'
    first_state = jax.jit(self._first_state, out_shardings=shardings)
    params, origin = first_weights.of(self.config, empty.params)
    return first_state(params), origin

  def place(self) -> dict[str, Any]:
    """Returns the place of the run in its data, as JSON for a checkpoint."""
    return {
        'data': self._source.fingerprint,
        'iterator': self.data.get_state(),
        'machine': self.machine(),
    }

  def machine(self) -> dict[str, Any]:
    """Returns what may change the last bits of a result, as JSON."""
    kind = self.mesh.devices.flat[0].device_kind
    return {
        'devices': f'{self.mesh.size} x {kind}',
        'processes': jax.process_count(),
        'cores': os.cpu_count(),
        'jax': jax.__version__,
        'XLA_FLAGS': os.environ.get('XLA_FLAGS', ''),
    }

  def sample(self, params: train_state.Params) -> tuple[str, str] | None:
    """Returns the end of a held-out prompt and the continuation by the model.

    Returns None if the data is not text.
    """
    if not self._source.is_text:
      return None
    L = self.config['sequence_length']
    longest = policies.longest_prefix(self.config['prefix'], L)
    length = longest if 0 < longest < L else -(-L // 2)
    prompt = self._source.held_out[:length].astype(np.int32)
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

  def _continue_at(self, place):
    if place['data'] != self._source.fingerprint:
      raise ValueError(
          f'config.data must be what {self.workdir} was trained on,'
          f" {place['data']}, got {self._source.fingerprint}: to start from its"
          f' weights, pass --config.init_from={self.workdir} and another'
          ' --workdir'
      )
    self.data.set_state(place['iterator'])

  def _first_state(self, params):
    return train_state.init(params, self.steps.optimizer)


def _computed_dtype(dtype, mesh):
  """Returns `dtype`; float32 on a CPU, where bfloat16 takes twice the time."""
  return 'float32' if mesh.devices.flat[0].platform == 'cpu' else dtype
