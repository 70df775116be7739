"""Every command with one line about it; `python -m jrt_jax` shows them."""

COMMANDS = {
    'Train': {
        'jrt_jax.train': 'trains a model, or continues training it',
        'jrt_jax.verify_resume': 'checks that a run resumes bit for bit',
        'jrt_jax.plan': 'predicts the memory, time and cost of a run',
        'launch': 'starts training here, on clusters and on clouds',
        'jrt_jax.plot': 'draws the curves of runs, and prints a table',
    },
    'Use': {
        'jrt_jax.generate': 'continues text with a trained model',
        'jrt_jax.export': 'writes a run as a directory for Hugging Face',
        'jrt_jax.convert': "converts from and to other projects' checkpoints",
    },
    'Evaluate': {
        'jrt_jax.recall': 'asks a model about contexts read once and twice',
        'jrt_jax.lm_eval': 'runs tasks of lm-evaluation-harness',
        'jrt_jax.lm_eval_cli': 'runs that harness with its own flags',
        'jrt_jax.perplexity': 'splits the held-out loss by recall and distance',
        'jrt_jax.probe': 'shows what limits recall; needs no trained model',
        'jrt_jax.reproduce': 'repeats tables and figures of the paper',
    },
    'Data': {
        'jrt_jax.data.prepare': 'tokenizes text into shards for training',
        'jrt_jax.data.train_tokenizer': 'trains a tokenizer on text',
        'jrt_jax.data.contamination': 'finds evaluation rows in training text',
    },
    'Prefixes and prompts': {
        'jrt_jax.prefix.preview': 'shows where the prefix of a document ends',
        'jrt_jax.prefix.calibrate': 'fits the thresholds of the entropy policy',
        'jrt_jax.prefix_trials': 'scores prompts with prefixes of many lengths',
        'jrt_jax.prefix.learn': 'learns how long a prefix each prompt needs',
        'jrt_jax.prompting.preview': 'shows which parts of a text are repeated',
    },
    'Measure': {
        'jrt_jax.benchmark': 'times training, prefill and decoding of models',
        'pallas_kernels.benchmarks': 'checks, tunes and times the GPU kernels',
        'pallas_kernels.selfcheck': 'checks that the GPU kernels are correct',
        'pallas_kernels.benchmarks.prefix_linear_attention': 'time by length',
        'pallas_kernels.benchmarks.gated_delta_rule': 'time by length',
    },
}


_WIDTH = 30  # characters; a longer name does not move the other lines


def names() -> list[str]:
  """Returns the modules of all commands."""
  return [name for group in COMMANDS.values() for name in group]


def table() -> str:
  """Returns all commands in groups, one a line."""
  width = max(len(name) for name in names() if len(name) <= _WIDTH)
  lines = ['python -m COMMAND --help describes a command.']
  for purpose, group in COMMANDS.items():
    lines += ['', purpose]
    lines += [f'  {name:{width}}  {what}' for name, what in group.items()]
  return '\n'.join(lines)
