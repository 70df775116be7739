r"""Trains a model, or continues training it.

python -m jrt_jax.train --config=configs/jrt_360m.py --workdir=runs/jrt_360m \
    --config.batch_size=128

`--from=WORKDIR` in place of `--config` starts from the newest weights and the
config of another run. WORKDIR may also be a converted checkpoint, a compact run
or builtin:NAME.

--helpfull also shows the flags for several processes (--cluster and others).

The same command continues a run that was stopped. Exit codes: 0 after the last
step, 1 if training diverged or ran out of memory or disk space, 2 for a mistake
in the command, 128 + n after signal n, 200 if it was stuck
(config.stall_seconds).
"""

import contextlib
import sys

from absl import app
from absl import flags
from ml_collections import config_flags

from configs import base
from jrt_jax import command_line
from jrt_jax import own_settings
from jrt_jax.command_line import config_file
from jrt_jax.command_line import process_flags
from jrt_jax.data import shards
from jrt_jax.data import windows
from jrt_jax.evaluation import recall_probes
from jrt_jax.reporting import goodput
from jrt_jax.reporting import report
from jrt_jax.reporting import terminal
from jrt_jax.runtime import compilation_cache
from jrt_jax.runtime import distributed
from jrt_jax.runtime import failures
from jrt_jax.runtime import memory
from jrt_jax.runtime import phases as phases_lib
from jrt_jax.runtime import watchdog
from jrt_jax.training import checkpoint
from jrt_jax.training import loop
from jrt_jax.training import program
from jrt_jax.training import recorded_config
from jrt_jax.training import run as run_lib
from jrt_jax.training import run_kernels

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'A file of configs/; --config.KEY=VALUE changes a key.'
)
flags.DEFINE_string(
    'from',
    None,
    'In place of --config: the workdir of another run, with whose config and'
    ' newest weights this run starts.',
)
_WORKDIR = flags.DEFINE_string(
    'workdir',
    None,
    'The folder of the run; default: runs/ and the name of the config.',
)
flags.register_validator('workdir', lambda x: x != '', 'must be a folder')
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool(
    'allow_config_change',
    False,
    'Continue a run although the config has changed.',
)
_VERIFY_DATA = flags.DEFINE_bool(
    'verify_data',
    False,
    'Compare all shards with their checksums, not only new ones.',
)
_MEET = process_flags.define()
_COMPILATION_CACHE = command_line.define_compilation_cache()


# What can go wrong after a run has started.
_FAILURES = (
    checkpoint.NotSaved,
    loop.Diverged,
    memory.TooLittle,
    windows.UnknownId,
)


def main(argv: list[str]) -> None:
  del argv
  phases = phases_lib.Phases(phases_lib.IMPORTS, age=phases_lib.process_age())
  with failures.together():
    with command_line.one_line_failures(*_FAILURES):
      signal = _train(_CONFIG.value.to_dict(), phases)
    sys.exit(128 + signal if signal else 0)


def _train(config, phases):
  with command_line.one_line_errors(), failures.shared():
    run = _prepare(config, phases)
    if result := run.result():
      with run:
        if distributed.is_first():
          terminal.write(f'{result}\n')
        return None
  stalls = run.workdir / 'stalls'
  with contextlib.ExitStack() as stack:
    with command_line.one_line_errors(), failures.shared():
      watch = stack.enter_context(
          watchdog.Watchdog(phases, stalls, config['stall_seconds'])
      )
    return _train_watched(run, phases, watch)


def _train_watched(run, phases, watch):
  with command_line.one_line_errors(), failures.shared():
    config = {**run.config, 'model': run.model}
    probe = recall_probes.make(config, run.tokenizer)
  mistakes = command_line.one_line_errors()  # inputs that the kernels refuse
  with mistakes, failures.shared(*_FAILURES, exit_code=command_line.FAILURE):
    phases.enter(phases_lib.COMPILING)
    compiler = compilation_cache.Compiler(keep=_COMPILATION_CACHE.value)
    # While no weights are in memory.
    train_step = program.compile_step(run, compiler.compile)
    if compiler.has_read:
      phases.remarks[phases_lib.COMPILING] = ' (read from the cache)'
  with command_line.one_line_errors(), failures.shared():
    phases.enter(phases_lib.RESTORING)
    state, origin = run.start()
    if distributed.is_first():
      print(f'start: {origin}')
      print(goodput.startup(phases), flush=True)
  with failures.shared(*_FAILURES, exit_code=command_line.FAILURE):
    return loop.train(
        run, state, train_step, probe=probe, phases=phases, peers=watch.peers
    )


def _prepare(config, phases):
  """Joins the other processes, prints the plan of the run, and returns it."""
  phases.enter(phases_lib.JOINING)
  peers = _MEET()
  phases.enter(phases_lib.PREPARING)
  workdir, is_recorded = config_file.workdir('config', _WORKDIR.value)
  settings = {f'config.{k}': x for k, x in recorded_config.flat(config).items()}
  distributed.check_same({'--workdir': str(workdir), **settings})
  base.check(config)
  if not is_recorded and not (workdir / 'config.json').exists():
    own_settings.check(config)  # new runs only: old ones may have such keys
  choice = run_kernels.of_run(config, workdir, peers)
  if distributed.is_first() and choice.reason:
    terminal.write(f'{choice}\n')
  distributed.open_devices()
  # Several processes keep their programs in another way; see `Compiler`.
  if _COMPILATION_CACHE.value and peers.num_processes == 1:
    compilation_cache.turn_on()
  if distributed.is_first():
    run_kernels.show()
  if _VERIFY_DATA.value:
    shards.forget_verified(config['data'])
  run = run_lib.Run(
      config,
      workdir,
      allow_config_change=_ALLOW_CONFIG_CHANGE.value,
      choice=choice,
  )
  plan = run.plan()
  if distributed.is_first():
    if peers.num_processes > 1:
      print(peers)
    print(plan, flush=True)
    if remark := report.demonstration(config, run.tokenizer):
      print(remark)
  return run


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parser(config='config'))
