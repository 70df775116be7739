import pytest

from pallas_kernels.benchmarks import lengths as lengths_lib


def test_the_exponent_is_that_of_the_power_law():
  lengths = [1024, 2048, 8192]
  times = [3e-6 * length**1.5 for length in lengths]
  assert lengths_lib.exponent(lengths, times) == pytest.approx(1.5)
