import pytest

from pallas_kernels.benchmarks import roofline
from pallas_kernels.benchmarks.roofline import Workload

H200 = {'bytes_per_second': 4.3e12, 'flops_per_second': 780e12}


@pytest.mark.parametrize(
    'workload, teraflops, gigabytes',
    [
        (Workload(16, 16, 32768, 16384), 0.601, 3.355),
        (Workload(16, 16, 16384, 8192), 0.301, 1.678),
        (Workload(1, 16, 32768, 16384), 0.038, 0.210),
        (Workload(8, 16, 2048, 1024, V=112), 0.032, 0.168),
    ],
)
def test_forward_costs_are_those_counted_by_hand(
    workload, teraflops, gigabytes
):
  cost = roofline.prefix_linear_attention(workload)
  assert cost.flops / 1e12 == pytest.approx(teraflops, rel=0.02)
  assert cost.bytes / 1e9 == pytest.approx(gigabytes, rel=0.005)


def test_gradients_read_and_write_twice_what_outputs_do():
  forward = Workload(16, 16, 2048, 1024)
  both = forward._replace(backward=True)
  outputs = roofline.prefix_linear_attention(forward)
  total = roofline.prefix_linear_attention(both)
  assert total.bytes == 3 * outputs.bytes
  # 1.50 TFLOP more at 16 times the length, counted by hand.
  assert (total.flops - outputs.flops) / 1e12 == pytest.approx(
      1.5 / 16, rel=0.01
  )


def test_a_prefix_costs_less_than_as_many_tokens():
  causal = roofline.prefix_linear_attention(Workload(1, 1, 4096))
  prefix = roofline.prefix_linear_attention(Workload(1, 1, 2048, 2048))
  assert prefix.flops < causal.flops and prefix.bytes < causal.bytes


def test_attention_takes_the_square_of_the_length():
  w = Workload(16, 16, 32768)
  assert roofline.softmax_attention(w).flops == pytest.approx(35.2e12, rel=1e-3)
  half = roofline.softmax_attention(w._replace(L=16384))
  assert half.flops * 4 == pytest.approx(35.2e12, rel=1e-3)


def test_attention_in_a_window_does_not():
  w = Workload(16, 16, 2048)
  cost = roofline.softmax_attention(w, window=129)
  assert cost.flops == pytest.approx(0.017e12, rel=0.03)
  assert cost.bytes == pytest.approx(0.268e9, rel=0.01)
  assert roofline.softmax_attention(w._replace(L=4096), window=129).flops == (
      2 * cost.flops
  )


@pytest.mark.parametrize('backward, ms', [(False, 0.094), (True, 0.25)])
def test_the_gated_convolution_only_moves_bytes(backward, ms):
  cost = roofline.gated_convolution(
      B=16, L=2048, channels=2048, backward=backward
  )
  assert cost.milliseconds(**H200) == pytest.approx(ms, rel=0.01)


def test_the_slower_of_moving_and_computing_decides():
  moves = roofline.Cost(flops=1.0, bytes=4.3e12)
  computes = roofline.Cost(flops=2 * 780e12, bytes=1.0)
  assert moves.milliseconds(**H200) == 1e3
  assert computes.milliseconds(**H200) == 2e3
