import pytest

from jrt_jax.compiled import train_step
from jrt_jax.cost import topology
from pallas_kernels import virtual_gpus


@pytest.mark.parametrize(
    'text, nodes, gpus, name',
    [
        ('1xA100', 1, 1, 'A100'),
        ('8xH200', 1, 8, 'H200'),
        ('2x8xH100', 2, 8, 'H100'),
    ],
)
def test_a_topology_is_nodes_of_gpus(text, nodes, gpus, name):
  found = topology.parse(text)
  assert found == (nodes, gpus, name)
  assert found.num_gpus == nodes * gpus
  assert found.gpu == topology.GPUS[name]


@pytest.mark.parametrize(
    'text', ['', 'H100', '8H100', '0xH100', '8xT1000', '2x2x8xH100', '8xH100 ']
)
def test_any_other_is_refused_with_the_gpus_there_are(text):
  message = f'^--topology must be NxGPU .* H100, .* got {text!r}$'
  with pytest.raises(ValueError, match=message):
    topology.parse(text)


@pytest.mark.parametrize(
    'kind, name',
    [
        ('NVIDIA A100-SXM4-80GB', 'A100'),
        ('NVIDIA A100-SXM4-40GB', 'A100-40GB'),
        ('NVIDIA H100 80GB HBM3', 'H100'),
        ('NVIDIA H100 PCIe', 'H100-PCIe'),
        ('NVIDIA H200 NVL', 'H200-NVL'),
        ('NVIDIA GB200', 'GB200'),
    ],
)
def test_what_jax_calls_a_gpu_finds_it(kind, name):
  assert topology.of_kind(kind) == topology.GPUS[name]


def test_an_unknown_kind_is_none():
  assert topology.of_kind('cpu') is None


def test_of_what_can_be_compiled_for_there_is_a_description_and_its_rates():
  assert {*topology.COMPILED} == {*virtual_gpus.DEVICES} <= {*topology.GPUS}
  assert {*topology.COMPILED} == {*train_step.RATES}
  for name, rates in train_step.RATES.items():
    assert rates.flops < topology.GPUS[name].flops
    assert rates.bandwidth < virtual_gpus.DEVICES[name]['bandwidth']
