"""Eight virtual CPU devices of one thread each, unless the caller says else."""

import os

_FLAGS = {
    '--xla_force_host_platform_device_count': '8',
    '--xla_cpu_multi_thread_eigen': 'false',  # two workers share two cores
    '--xla_backend_optimization_level': '0',  # compiling takes most of the time
}


def _set_devices():
  """Must run before the first import of jax, which reads the environment."""
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  flags = os.environ.get('XLA_FLAGS', '')
  new = [f'{k}={v}' for k, v in _FLAGS.items() if k not in flags]
  os.environ['XLA_FLAGS'] = ' '.join([*flags.split(), *new])


_set_devices()
