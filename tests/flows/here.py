"""What the commands of pages become on two cores without a GPU.

A key is a part of a command. A command that no key fits runs as its page has it.
"""

import gzip
import importlib.util
import json
import pathlib


from flows import mamba2_folder

from jrt_jax.data import sources

_STEPS = (
    ' --config.steps=3 --config.eval_every=3 --config.eval_batches=2'
    ' --config.checkpoint_every=3 --config.optimizer.warmup_steps=1'
    ' --config.sample_tokens=4'
)
_SHORT = (
    f'{_STEPS} --config.batch_size=4 --config.microbatch_per_device=2'
    ' --config.sequence_length=64'
)
_TINY = (
    f'{_SHORT} --config.model.width=16'
    ' --config.model.num_heads=2 --config.model.mlp_width=32'
    ' --config.model.window=5 --config.model.dtype=float32'
    " --config.model.mixers=\"('conv','pla','swa')\""
)

# What commands may have left in the folder of the code.
MADE = ('runs', 'shards', 'build', 'dist', '*.egg-info')

# Smaller than the page has it: {part of the command: what is added to it}.
SMALLER = {
    'make train': f"-o .venv/installed ARGS='{_STEPS}'",
    'make test': '-o .venv/installed ARGS=tests/jrt_jax/schema_test.py',
    'jrt_jax.train --config=configs/jrt_360m.py': _TINY,
    'jrt_jax.train --config=configs/jrt_28m.py': _TINY,
    # The run of README.md's first command, which has ended.
    'configs/jrt_tiny.py --workdir=runs/jrt_tiny': _STEPS,
    '--workdir=runs/long_rows': f'{_SHORT} --config.model.window=17',
    'jrt_jax.train --config=configs/jrt_tiny.py': _SHORT,
    'jrt_jax.train --config=configs/based_tiny.py': _SHORT,
    'jrt_jax.train --config=configs/attention_tiny.py': _SHORT,
    'jrt_jax.train --config=configs/synthetic.py': _STEPS,
    'jrt_jax.train --from=': _SHORT,
    'launch local': _TINY,
    'data.train_tokenizer': '--vocab_size=300',
    'jrt_jax.perplexity': '--windows=4 --length=64',
    '--out=trials.npz': '--num_prompts=8 --answer_tokens=8',
    'jrt_jax.probe': '--only=needle',
    'jrt_jax.benchmark ': '--only=G22',
    'jrt_jax.reproduce all': '--scale=paper',
    'pallas_kernels.benchmarks.prefix_linear_attention': (
        '--lengths=128,256 --rounds=1 --quadratic_up_to=128'
    ),
    'pallas_kernels.benchmarks.gated_delta_rule': (
        '--lengths=128,256 --rounds=1'
    ),
    'benchmarks --out=DIR --time_budget': '--rehearse --time_budget=1',
    'benchmarks --out=results': '--rehearse --time_budget=1',
}

# Not possible here: {part of the command: (why, what runs in its place or None)}.
# What `launch slurm` submits is read by a pretended `sbatch`.
INSTEAD = {
    'jrt_jax.verify_resume': (
        'three steps leave one checkpoint',
        'python -m jrt_jax.train --config=configs/jrt_tiny.py'
        f' --workdir=runs/two_checkpoints{_TINY} --config.checkpoint_every=2'
        ' && python -m jrt_jax.verify_resume --workdir=runs/two_checkpoints',
    ),
    'pip install': ('it changes the environment', None),
    'python -m venv': ('it changes the environment', None),
    'make docs': ('it installs packages', 'make -n docs'),
    'make test-aot': ('it downloads 3.2 GB', 'make -n test-aot'),
    'benchmarks --out=DIR --publish': (
        'it needs results of a GPU',
        'python -m pallas_kernels.benchmarks --list',
    ),
    'docker ': ('it needs Docker', None),
    'kubectl ': ('it needs Kubernetes', None),
    'sky jobs': ('it needs a cloud', None),
    'prepare --dataset=': ('it needs a network', None),
    'squeue': ('it needs SLURM', None),
    'scancel': ('it needs SLURM', None),
    'tail -f': ('it needs a job', None),
}

# Exit codes other than 0 that pages tell.
CODES = {
    'pallas_kernels.selfcheck': 1,  # the kernels may not run: there is no GPU
}

# What the reader of a page has run before, besides README.md's first command.
_SHARDS = (
    "python -m jrt_jax.data.prepare --input='pile/*.jsonl.zst'"
    ' --tokenizer=gpt2/tokenizer.json --out=shards/pile'
)
BEFORE = {
    'docs/checkpoints.md': [
        'python -m jrt_jax.convert to_official --workdir=builtin:jrt_2m'
        ' --out=JRT-360M-30B'
    ],
    'docs/many_gpus.md': [_SHARDS],
    'docs/monitoring.md': [
        'python -m jrt_jax.train --config=configs/based_tiny.py'
        ' --workdir=runs/based_tiny'
    ],
    'launch/README.md': [_SHARDS],
}

# Packages that a page has installed before, and commands that need them.
NEEDS = {
    'jrt_jax.lm_eval': 'lm_eval',
    'jrt_jax.plot': 'matplotlib',
    '--traffic': 'jax_cuda13_plugin',
    'ptx.Executable': 'jax_cuda13_plugin',
}


def command(shown: str) -> str | None:
  """Returns what runs in place of a command of a page; None is nothing."""
  needed = _first(NEEDS, shown)
  if needed and importlib.util.find_spec(needed) is None:
    return None
  if instead := _first(INSTEAD, shown):
    return instead[1]
  smaller = _first(SMALLER, shown)
  return f'{shown} {smaller}' if smaller else shown


def code(shown: str) -> int:
  """Returns the exit code that a command of a page must have."""
  return _first(CODES, shown) or 0


def _first(table, shown):
  """What a table has for the first of its parts that is in a command."""
  return next((x for part, x in table.items() if part in shown), None)


def bring(folder: pathlib.Path) -> None:
  """Writes what pages say is the reader's own: texts, a tokenizer, a cluster."""
  builtin = pathlib.Path('jrt_jax/builtin/jrt_2m')
  documents = [
      part
      for path in sorted((folder / 'jrt_jax').rglob('*.py'))
      for part in path.read_text().split('\n\n\n')
  ]
  lines = ''.join(json.dumps({'text': x}) + '\n' for x in documents).encode()
  row = json.dumps({'context': 'Bob has a dog.', 'answers': 'dog'}) + '\n'
  files = {
      'pile/00.jsonl.zst': sources.zstd.compress(lines),
      'mine/00.txt': '<|endoftext|>'.join(documents).encode(),
      'text/00.jsonl.gz': gzip.compress(lines),
      'eval/fda.jsonl.gz': gzip.compress(row.encode()),
      'gpt2/tokenizer.json': (folder / builtin / 'tokenizer.json').read_bytes(),
      'bin/sbatch': b'#!/bin/sh\nbash -n "$1" && echo Submitted batch job 7\n',
  }
  for name, data in files.items():
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
  (folder / 'bin/sbatch').chmod(0o755)
  (folder / 'mamba2-130m').mkdir()
  mamba2_folder.write(folder / 'mamba2-130m')
