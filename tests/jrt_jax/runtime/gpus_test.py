"""Which GPUs a process takes, on nodes with a pretended `nvidia-smi`."""

import pytest

from jrt_jax.runtime import gpus

JAX = 'JAX_CUDA_VISIBLE_DEVICES', 'JAX_PLATFORMS'
TWO_NODES = ['a'] * 4 + ['b'] * 4


@pytest.fixture
def node(monkeypatch, tmp_path):
  """A function that makes this a node with so many GPUs.

  Of each the driver says what is `described`, in which GPU is its id.
  """

  def node(
      count,
      described='NVIDIA H$GPU, 9.0, 580.1, Disabled',
      **environment,
  ):
    command = tmp_path / 'nvidia-smi'
    lines = [f'[ "$1" = -i ] && GPU=$2 && echo "{described}" && exit']
    lines += [
        f'echo "GPU {i}: NVIDIA H100 (UUID: GPU-{i})"' for i in range(count)
    ]
    command.write_text('\n'.join(['#!/bin/sh', *lines, '']))
    command.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    for name in ('CUDA_VISIBLE_DEVICES', *JAX):
      monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpus, '_CUDA', ('/no/such/driver',))
    for name, value in environment.items():
      monkeypatch.setenv(name, value)

  return node


def taken(hosts):
  processes = [(host, gpus.visible()) for host in hosts]
  shares = [gpus.share(processes, k) for k in range(len(hosts))]
  return [share and [*share] for share in shares]


def test_processes_of_a_node_share_its_gpus(node):
  node(4)
  assert taken(TWO_NODES) == [[0], [1], [2], [3]] * 2
  assert taken(['a', 'b', 'a', 'b']) == [[0, 1], [0, 1], [2, 3], [2, 3]]


def test_gpus_left_over_on_one_node_are_a_mistake_of_all_processes():
  processes = [('a', 8)] * 2 + [('b', 7)] * 2
  for process in range(4):
    with pytest.raises(ValueError, match='2 processes of b cannot share its 7'):
      gpus.share(processes, process)


def test_one_process_takes_all_gpus_of_its_node(node):
  node(4)
  assert taken(['a', 'b']) == [None, None]


def test_what_the_scheduler_has_shared_out_is_taken_as_it_is(node):
  node(8, CUDA_VISIBLE_DEVICES='5')
  assert taken(['a'] * 8) == [None] * 8
  node(8, CUDA_VISIBLE_DEVICES='4,5')
  assert taken(['a'] * 2) == [[0], [1]]


def test_on_cpus_nothing_is_shared_out(node, monkeypatch):
  node(8, JAX_PLATFORMS='cpu')
  assert taken(TWO_NODES) == [None] * 8
  node(0)
  assert taken(TWO_NODES) == [None] * 8
  monkeypatch.setenv('PATH', '')
  assert taken(TWO_NODES) == [None] * 8


@pytest.mark.parametrize(
    'chosen, ids, id',
    [
        (None, None, '0'),
        (None, [2, 3], '2'),
        ('5,7', None, '5'),
        ('5,7', [1], '7'),
        ('GPU-8a, GPU-9b', [1], 'GPU-9b'),
    ],
)
def test_the_first_gpu_is_described_as_its_driver_does(node, chosen, ids, id):
  node(8, **({} if chosen is None else {'CUDA_VISIBLE_DEVICES': chosen}))
  expected = gpus.Gpu(id, f'NVIDIA H{id}', '9.0', '580.1')
  assert gpus.first(ids) == expected


@pytest.mark.parametrize(
    'of_jax, ids, id',
    [('1', None, '7'), ('2,0', None, '9'), ('all', None, '5'), ('1', [2], '9')],
)
def test_of_the_gpus_that_cuda_shows_jax_may_take_some(node, of_jax, ids, id):
  node(8, CUDA_VISIBLE_DEVICES='5,7,9', JAX_CUDA_VISIBLE_DEVICES=of_jax)
  assert gpus.first(ids).id == id
  node(8, CUDA_VISIBLE_DEVICES='5', JAX_CUDA_VISIBLE_DEVICES='1')
  assert gpus.first() is None


def test_what_the_driver_does_not_describe_is_no_gpu(node):
  node(0)
  assert gpus.first() is None
  node(8, JAX_PLATFORMS='cpu')
  assert gpus.first() is None
  for described in ('', 'No devices were found', 'H100, 9.0, 580, Enabled'):
    node(8, described)
    assert gpus.first() is None
  node(8, CUDA_VISIBLE_DEVICES='5')
  assert gpus.first([1]) is None


@pytest.mark.parametrize('described', ['', 'NVIDIA H100, 9.0, 580.1, Enabled'])
def test_cuda_describes_what_nvidia_smi_does_not(node, monkeypatch, described):
  said = 'NVIDIA H100 MIG 1g.10gb, 9.0, 580.1'
  node(8, described, CUDA_VISIBLE_DEVICES='5,MIG-8a')
  monkeypatch.setattr(gpus, '_CUDA', ('echo', f'another one\n{said}'))
  expected = gpus.Gpu('MIG-8a', 'NVIDIA H100 MIG 1g.10gb', '9.0', '580.1')
  assert gpus.first([1]) == expected
  assert gpus.first([0]) is None


def test_without_nvidia_smi_cuda_says_how_many_gpus_there_are(
    node, monkeypatch
):
  node(0, described='')
  monkeypatch.setattr(
      gpus, '_CUDA', ('printf', 'H100, 9.0, 580\n%.0s', '1', '2')
  )
  assert gpus.visible() == 2
  assert gpus.first() == gpus.Gpu('0', 'H100', '9.0', '580')
  assert gpus.first([1]).id == '1' and gpus.first([2]) is None


def test_a_driver_that_hangs_is_no_gpu(node, monkeypatch):
  node(8, '$(exec sleep 60)')
  monkeypatch.setattr(gpus, '_SECONDS', 0.5)
  monkeypatch.setattr(gpus, '_CUDA', ('sleep', '60'))
  assert gpus.first() is None


def test_ids_are_numbers():
  assert gpus.check_ids(None) is None
  assert gpus.check_ids(['0', '12']) == [0, 12]
  for ids in ([], ['0', 'x'], ['-1']):
    with pytest.raises(ValueError, match='--local_device_ids must be numbers'):
      gpus.check_ids(ids)
