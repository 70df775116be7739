"""The loop of a run: steps, and what happens between them."""

from collections.abc import Callable, Mapping
from concurrent import futures
import contextlib
import math
import os
import signal
import sys

import jax
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from jrt_jax.cost import estimate
from jrt_jax.data import objectives
from jrt_jax.reporting import goodput as goodput_lib
from jrt_jax.reporting import metrics as metrics_lib
from jrt_jax.reporting import report
from jrt_jax.reporting import terminal
from jrt_jax.reporting import throughput
from jrt_jax.reporting import units
from jrt_jax.runtime import distributed
from jrt_jax.runtime import phases as phases_lib
from jrt_jax.runtime import pulses
from jrt_jax.runtime import sharding
from jrt_jax.runtime import signals
from jrt_jax.training import optimizer
from jrt_jax.training import recorded_result
from jrt_jax.training.run import Run
from jrt_jax.training.train_state import Params
from jrt_jax.training.train_state import TrainState

_LONGEST_REASON = 200  # characters; errors of XLA contain lists of buffers


class Diverged(Exception):
  """Too many steps in a row had to be skipped."""


def train(
    run: Run,
    state: TrainState,
    train_step: jax.stages.Compiled,
    *,
    probe: Callable[[Params], Mapping[str, float]] | None = None,
    phases: phases_lib.Phases | None = None,
    peers: pulses.Peers | None = None,
) -> signal.Signals | None:
  """Trains to the last step and prints the result, or until a signal.

  Args:
    run: the run to train; it is closed at the end.
    state: the first state, from `run.start`; its memory is reused.
    train_step: the compiled step, from `program.compile_step`.
    probe: maps weights, on one device of the first process, to metrics. They
      are logged as probe/<name> every `config.probes.every` steps. If it fails,
      the run continues without it. None: no probing.
    phases: what this process has done before; None: nothing.
    peers: what the processes of the run tell each other; None: nothing.

  Returns:
    The signal that stopped the run, after it was saved; None after the last
    step.

  Raises:
    Diverged: when metrics were logged, the last
      `config.optimizer.max_bad_steps` steps or more had been skipped.
    NotSaved: a checkpoint could not be written, or numbers of the state are not
      finite.
  """
  phases = phases or phases_lib.Phases()
  with contextlib.ExitStack() as stack:
    first = distributed.is_first()
    stop = stack.enter_context(signals.StopRequest(tell=first))
    stack.enter_context(jax.set_mesh(run.mesh))
    step = int(state.step)
    goodput = goodput_lib.Goodput(run.workdir if first else None, step, phases)
    stack.callback(goodput.record)  # after the last checkpoint is written
    stack.enter_context(run)
    stack.enter_context(run.checkpoints.writing())  # for errors of metrics too
    if first:
      writer = metrics_lib.MetricWriter(run.workdir, step, run.config)
      screen = sys.stderr
    else:  # prints nothing
      writer = metrics_lib.NoWriter()
      screen = stack.enter_context(open(os.devnull, 'w'))
    stack.enter_context(writer)
    progress = metrics_lib.Progress(run.config['steps'], step, screen)
    stack.callback(progress.close)
    loop = _Loop(run, train_step, writer, progress, stop, probe, goodput, peers)
    stopped_by = loop.run(state)
    phases.enter(phases_lib.SAVING)
    return stopped_by


class _Loop:

  def __init__(
      self, run, train_step, writer, progress, stop, probe, goodput, peers
  ):
    self._run = run
    self._train_step = train_step
    self._config = run.config
    self._writer = writer
    self._progress = progress
    self._stop = signals.Agreement(stop)
    self._probe = probe
    self._goodput = goodput
    self._phases = goodput.phases
    self._peers = peers
    self._throughput = throughput.Throughput(self._phases)
    self._waiter = futures.ThreadPoolExecutor(1)
    self._speeds = []  # tokens per second, at each log
    self._flops = estimate.flops_per_token(run.config, run.mean_prefix)
    self._learning_rate = optimizer.learning_rate(
        run.config['optimizer'], run.config['steps']
    )
    self._tokens_per_step = (
        run.config['batch_size'] * run.config['sequence_length']
    )
    self._evaluate_jitted = jax.jit(run.steps.evaluate)

  def run(self, state: TrainState) -> signal.Signals | None:
    step, last = int(state.step), self._config['steps']
    evaluated, previous, finished = None, None, None
    self._phases.saved = step
    self._phases.enter(phases_lib.DEVICES, step)
    if self._due(step, 'eval_every') and self._missed(step, 'held_out/'):
      evaluated = self._evaluate(step, state)
    if self._probe_due(step) and self._missed(step, 'probe/'):
      self._ask(step, state)
    while step < last and not (stopped_by := self._stop.after(step)):
      batch = self._next_batch(finished)
      with self._phases.within(phases_lib.DISPATCH):
        state, metrics = self._train_step(state, self._run.put(batch))
      finished = self._waiter.submit(self._finish, metrics['loss'])
      jax.block_until_ready(previous)  # while devices compute the next step
      self._progress.advance(step)
      step, previous = step + 1, metrics
      self._phases.count(step)
      self._throughput.add(self._tokens_per_step, metrics['loss_tokens'])
      if self._due(step, 'log_every'):
        self._log(step, metrics, state)
      if self._due(step, 'checkpoint_every'):
        self._save(step, state)
      if self._due(step, 'eval_every'):
        evaluated = self._evaluate(step, state)
      if self._probe_due(step):
        self._ask(step, state)
    if step < last:
      self._save(step, state)
      self._progress.print(
          f'Stopped by {stopped_by.name} after step {step}: the same command'
          ' continues the run.'
      )
      return stopped_by
    self._progress.close()
    self._show_result(step, state, evaluated)
    return None

  def _next_batch(self, finished):
    """Takes a batch; devices are idle after the last step has `finished`."""
    start = self._phases.now()
    with self._phases.within(phases_lib.DATA):
      batch = next(self._run.data)
    if finished is None or finished.done():
      idle_from = finished.result() if finished else start
      self._phases.idle += self._phases.now() - max(start, idle_from)
    return batch

  def _finish(self, loss):
    """Waits for a step; returns the time of its end."""
    jax.block_until_ready(loss)
    return self._phases.now()

  def _show_result(self, step, state, evaluated):
    """Prints the result of the last step and saves it."""
    self._phases.enter(phases_lib.ENDING)
    if evaluated is None:  # an earlier command finished the run
      evaluated = self._run.evaluation.run(self._evaluate_step, state.params)
    sample = self._run.sample(state.params)
    if not distributed.is_first():
      return
    result = report.result(
        self._config,
        held_out=self._run.evaluation.lines(evaluated),
        tokens_per_second=self._speeds,
        goodput=self._goodput.lines(),
        sample=sample,
    )
    terminal.write(f'{result}\n')
    self._run.checkpoints.wait()
    recorded_result.save(self._run.workdir, step, self._config, result)

  def _due(self, step, key):
    every = self._config[key]
    return step == self._config['steps'] or (every and step % every == 0)

  def _probe_due(self, step):
    every = self._config['probes']['every']
    last = step == self._config['steps']
    return self._probe and every and (last or step % every == 0)

  def _missed(self, step, kind):
    """Whether the run was killed between saving and evaluating `step`."""
    return step and distributed.from_first(
        lambda: not metrics_lib.has_recorded(self._run.workdir, step, kind)
    )

  def _log(self, step, metrics, state):
    metrics = {name: x.item() for name, x in jax.device_get(metrics).items()}
    rates = self._throughput.read()
    self._speeds.append(rates['tokens_per_second'])
    accepted = metrics.pop('accepted')
    self._writer.write(
        step,
        {
            'tokens': step * self._tokens_per_step,
            **metrics,
            'perplexity': math.exp(min(metrics['next_token_loss'], 700.0)),
            'learning_rate': self._learning_rate(max(accepted - 1, 0)),
            **rates,
            'mfu': throughput.mfu(
                self._flops,
                self._speeds[-1],
                list(self._run.mesh.devices.flat),
            ),
            'peak_memory': throughput.peak_memory(),
            **self._goodput.record(),
            **(self._peers.host_seconds() if self._peers else {}),
        },
    )
    self._progress.update(step, self._shown(metrics))
    if bad := metrics['skipped_in_a_row']:
      self._run.checkpoints.check_finite(state)
    if bad >= self._config['optimizer']['max_bad_steps']:
      raise Diverged(
          f'the last {bad} steps, {step - bad + 1} to {step}, were skipped'
          ' because gradients or updates were not finite or spiked: lower'
          ' config.optimizer.peak_lr, or look at the data of these steps'
      )

  def _shown(self, metrics):
    """Returns the metrics to show for a step, with the parts of the loss."""
    parts = {}
    if objectives.has_masks(self._config['objective']):
      parts['next'] = metrics['next_token_loss']
      parts['masked'] = metrics['masked_token_loss']
    speed = units.count(self._speeds[-1])
    return {'loss': metrics['loss'], **parts, 'tokens/s': speed}

  def _evaluate(self, step, state):
    jax.block_until_ready(state)  # so that the step counts as training time
    with self._phases.within(phases_lib.EVALUATING):
      evaluated = self._run.evaluation.run(self._evaluate_step, state.params)
    named = {f'held_out/{name}': x for name, x in evaluated.items()}
    self._writer.write(step, named)
    headline = self._run.evaluation.headline(evaluated)
    self._progress.print(f'step {step}: held-out {headline}')
    return evaluated

  def _evaluate_step(self, *arguments):
    self._phases.progress()
    return self._evaluate_jitted(*arguments)

  def _ask(self, step, state):
    """Logs the metrics of the probe; after a failure it is not run again."""
    jax.block_until_ready(state)
    with self._phases.within(phases_lib.PROBING):
      params = sharding.gathered(state.params)
      found, error = distributed.from_first(lambda: self._probed(params))
    if error:
      self._probe = None
      self._progress.print(
          f'step {step}: probing failed and is turned off: {error}'
      )
      return
    self._writer.write(step, {f'probe/{name}': x for name, x in found.items()})
    shown = '  '.join(f'{name} {x:.3g}' for name, x in found.items())
    self._progress.print(f'step {step}: {shown}')

  def _probed(self, params):
    """Returns (metrics, None), or (None, error) if the probe failed."""
    mesh = sharding.mesh_of_one()
    try:
      with jax.set_mesh(mesh):
        whole = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
        return dict(self._probe(whole)), None
    except Exception as error:  # pylint: disable=broad-except
      reason = ' '.join(str(error).split())[:_LONGEST_REASON]
      return None, f'{type(error).__name__}: {reason}'

  def _save(self, step, state):
    jax.block_until_ready(state)
    with self._phases.within(phases_lib.SAVING):
      self._run.checkpoints.save(step, state, self._run.place())
    self._phases.saved = step
