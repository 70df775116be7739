"""Formats numbers for people."""


def count(number: float) -> str:
  """356578304 → '357M', 1234 → '1.23k', 12 → '12'."""
  return _scaled(number, 1000, ('', 'k', 'M', 'B', 'T', 'P', 'E'))


def size(num_bytes: float) -> str:
  """3221225472 → '3 GiB'."""
  return _scaled(
      num_bytes, 1024, (' B', ' KiB', ' MiB', ' GiB', ' TiB', ' PiB')
  )


def flop(number: float) -> str:
  """8.3e6 → '8.3 MFLOP'."""
  return _scaled(
      number, 1000, (' FLOP', ' kFLOP', ' MFLOP', ' GFLOP', ' TFLOP', ' PFLOP')
  )


def duration(seconds: float) -> str:
  """75 → '1m15s', 90061 → '1d01h', 4e7 → '1y97d', 4.2 → '4s'."""
  seconds = round(seconds)
  for name, length, rest_name, rest_length in (
      ('y', 365 * 86400, 'd', 86400),
      ('d', 86400, 'h', 3600),
      ('h', 3600, 'm', 60),
      ('m', 60, 's', 1),
  ):
    if seconds >= length:
      rest = seconds % length // rest_length
      return f'{seconds // length}{name}{rest:02}{rest_name}'
  return f'{seconds}s'


def _scaled(number, base, units):
  """Formats with three significant digits, or all digits before the point."""
  for unit in units:
    if abs(number) < base * (1 - 0.5e-3) or unit == units[-1]:
      break
    number /= base
  digits = f'{number:.3g}' if abs(number) < 999.5 else f'{number:.0f}'
  return f'{digits}{unit}'
