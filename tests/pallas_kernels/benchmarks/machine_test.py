import pytest

from pallas_kernels.benchmarks import machine

H200 = {
    'device': 'NVIDIA H200',
    'platform': 'gpu',
    'compute_capability': '9.0',
}


@pytest.mark.parametrize(
    'other, version, reason',
    [
        ({}, (0, 11, 2), None),
        ({'platform': 'cpu'}, (0, 11, 2), 'jax finds no GPU'),
        (
            {'device': 'NVIDIA A100', 'compute_capability': '8.0'},
            (0, 11, 2),
            'NVIDIA A100 is no Hopper GPU',
        ),
        ({}, (0, 10, 2), 'jax must be 0.11.2 or newer, got '),
    ],
)
def test_the_reason_why_kernels_cannot_run(monkeypatch, other, version, reason):
  monkeypatch.setattr(machine.jax, '__version_info__', version)
  found = machine.unfit(H200 | other)
  assert found == reason or found.startswith(reason)


def test_a_machine_without_the_driver_says_nothing_of_it(monkeypatch):
  monkeypatch.setenv('PATH', '')
  found = machine.describe()
  assert found['driver'] is None
  assert found['platform'] == 'cpu' and found['devices'] == 8
