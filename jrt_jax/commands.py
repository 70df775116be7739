"""Every command, and in a line what it does; `python -m jrt_jax` shows it."""

COMMANDS = {
    'Train': {
        'jrt_jax.train': 'trains a model, or continues training it',
        'jrt_jax.plan': 'what a run would take: memory, time and money',
        'launch': 'starts training on many GPUs, here or through SLURM',
        'jrt_jax.plot': 'compares runs: a figure of their curves, and a table',
    },
    'Use': {
        'jrt_jax.generate': 'continues text with a trained model',
        'jrt_jax.export': 'writes a run as a directory of Hugging Face',
        'jrt_jax.convert': 'checkpoints of others in and out, and compact ones',
    },
    'Evaluate': {
        'jrt_jax.recall': 'whether a model recalls what it reads, once and twice',
        'jrt_jax.lm_eval': 'tasks of lm-evaluation-harness',
        'jrt_jax.lm_eval_cli': 'lm-evaluation-harness, with its own flags',
        'jrt_jax.perplexity': 'the held-out loss: what is recalled, from how far',
        'jrt_jax.probe': 'what limits recall, on small questions; no training',
        'jrt_jax.reproduce': 'the tables and figures of the sources',
    },
    'Data': {
        'jrt_jax.data.prepare': 'tokenizes text into shards for training',
        'jrt_jax.data.train_tokenizer': 'trains a tokenizer on text',
        'jrt_jax.data.contamination': 'rows of evaluations in training text',
    },
    'Prefixes and prompts': {
        'jrt_jax.prefix.preview': 'where policies end the prefix of a document',
        'jrt_jax.prefix.calibrate': 'the thresholds of the entropy policy',
        'jrt_jax.prefix_trials': 'scores prompts with prefixes of many lengths',
        'jrt_jax.prefix.learn': 'learns how long a prefix a prompt needs',
        'jrt_jax.prompting.preview': 'how a document is read, and what again',
    },
    'Measure': {
        'jrt_jax.benchmark': 'times training, prefill and decoding of models',
        'pallas_kernels.benchmarks': 'checks, tunes and times the GPU kernels',
        'pallas_kernels.selfcheck': 'whether the GPU kernels may run here',
        'pallas_kernels.benchmarks.prefix_linear_attention': 'time, by length',
    },
}


_WIDTH = 30  # characters; a longer name does not move the other lines


def names() -> list[str]:
  """Returns the modules of all commands."""
  return [name for group in COMMANDS.values() for name in group]


def table() -> str:
  """Returns all commands by what they are for, one a line."""
  width = max(len(name) for name in names() if len(name) <= _WIDTH)
  lines = ['python -m COMMAND --help says more of each.']
  for purpose, group in COMMANDS.items():
    lines += ['', purpose]
    lines += [f'  {name:{width}}  {what}' for name, what in group.items()]
  return '\n'.join(lines)
