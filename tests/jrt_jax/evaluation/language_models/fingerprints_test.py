"""Other weights and other code are told by their files."""

import json
import os
import sys

from jrt_jax.evaluation.language_models import fingerprints


def test_other_files_of_weights_have_another_fingerprint(tmp_path):
  weights = tmp_path / 'model.safetensors'
  weights.write_bytes(b'a')
  found = [fingerprints.of_weights(tmp_path)]
  (tmp_path / 'README.md').touch()
  assert fingerprints.of_weights(tmp_path) == found[0]
  assert fingerprints.of_weights(weights) == found[0]
  os.utime(weights, ns=(0, 0))
  found.append(fingerprints.of_weights(tmp_path))
  weights.write_bytes(b'ab')
  found.append(fingerprints.of_weights(tmp_path))
  weights.rename(tmp_path / 'b.safetensors')
  found.append(fingerprints.of_weights(tmp_path))
  assert len({*found}) == 4


def test_a_module_without_a_file_has_none():
  assert fingerprints.of_module(sys) is None
  found = fingerprints.of_module(os), fingerprints.of_module(json)
  assert None not in found and len({*found}) == 2
