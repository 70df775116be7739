"""Nested dicts by dotted keys."""

from jrt_jax import dotted


def test_dicts_are_made_flat_and_back():
  nested = {'a': {'b': 1, 'c': {'d': (2, 3)}}, 'e': None}
  flat = {'a.b': 1, 'a.c.d': (2, 3), 'e': None}
  assert dotted.flat(nested) == flat
  assert dotted.nested(flat) == nested


def test_an_empty_dict_has_no_keys():
  assert dotted.flat({'a': {}, 'b': 1}) == {'b': 1}
