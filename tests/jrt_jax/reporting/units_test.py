import pytest

from jrt_jax.reporting import units


@pytest.mark.parametrize(
    'number, expected',
    [
        (0, '0'),
        (12, '12'),
        (999, '999'),
        (999.6, '1k'),
        (1234, '1.23k'),
        (356_578_304, '357M'),
        (999_900, '1M'),
        (31.46e9, '31.5B'),
        (2.5e21, '2500E'),
        (-4321, '-4.32k'),
    ],
)
def test_counts_have_three_digits(number, expected):
  assert units.count(number) == expected


@pytest.mark.parametrize(
    'num_bytes, expected',
    [
        (0, '0 B'),
        (1023, '1023 B'),
        (1024, '1 KiB'),
        (3 * 2**30, '3 GiB'),
        (1000 * 2**20, '1000 MiB'),
    ],
)
def test_sizes_are_binary(num_bytes, expected):
  assert units.size(num_bytes) == expected


@pytest.mark.parametrize(
    'seconds, expected',
    [
        (0.2, '0s'),
        (59.4, '59s'),
        (59.6, '1m00s'),
        (75, '1m15s'),
        (3599.7, '1h00m'),
        (3661, '1h01m'),
        (90_061, '1d01h'),
        (364.9 * 86_400, '364d21h'),
        (400 * 86_400, '1y35d'),
    ],
)
def test_durations_have_two_units(seconds, expected):
  assert units.duration(seconds) == expected


def test_operations_have_a_unit():
  assert units.flop(8.32e6) == '8.32 MFLOP'
  assert units.flop(2.01e9) == '2.01 GFLOP'
