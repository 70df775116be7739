"""The error of programs that break a rule."""


class Violation(Exception):
  """A program breaks a rule of the GPU, or is not completely modelled."""
