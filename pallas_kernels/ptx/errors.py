"""What a program does that it must not do."""


class Violation(Exception):
  """A program breaks a rule of the GPU, or asks for what is not modelled."""
