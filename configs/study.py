r"""Four small models of equal size on the same text: does reading twice help?

python -m jrt_jax.train --config=configs/study.py --workdir=runs/study \
    --config.data.path=shards/study \
    --config.data.tokenizer=shards/study/tokenizer.json

trains the arm `jrt`. `--config=configs/study.py:ARM` trains another arm, and
ARM@RATE, as in `jrt@1e-3`, sets its largest learning rate. The arms are:

    jrt        JRT-RNN, with prefixes of random length   1,792,000 parameters
    based      Based, its causal twin                    1,785,856
    attention  a Transformer                             1,791,360
    swa_sinks  window and sinks in every layer           1,791,360

All arms read the same 1,464 batches of 8 x 512 tokens (6.0 M tokens) in the
same order. A quarter of the sequences show their first half (or the document
that begins there) twice, in all arms: if only JRT-RNN were trained like this, a
difference could be due to the data. The tokenizer has 4,095 ids, and [MASK] is
the 4,096th. The training text is made from the files of texts/ (FDA reviews and
addresses to Congress, with <|endoftext|> between documents), without the
documents that overlap with evaluation rows in eval/ (FDA, SQuAD, DROP, NQ and
TriviaQA):

python -m jrt_jax.data.contamination --input='texts/*' --rows='eval/*' \
    --out=clean.jsonl.gz
python -m jrt_jax.data.train_tokenizer --input=clean.jsonl.gz \
    --vocab_size=4095 --out=tokenizer.json
python -m jrt_jax.data.prepare --input=clean.jsonl.gz \
    --tokenizer=tokenizer.json --validation_fraction=0.05 --out=shards/study

The plan was:
1. Train each arm with three learning rates (1e-3, 3e-3, 9e-3) for a quarter of
   the steps (--config.steps=366) with seed 0. Choose the rate with the lowest
   held-out next-token loss per byte; if it is the largest or the smallest rate,
   try one more beyond it.
2. Train each arm with its best rate for all steps, with seeds 1 and 2.
3. Publish JRT-RNN with seed 1 as builtin:jrt_2m.
These are 3 + 8 = 11 whole runs. If time is short, leave out in this order: the
second seed of swa_sinks, then of attention; the rates of swa_sinks, which then
takes the rate of attention; half of the steps of all whole runs; the arm
swa_sinks. Always keep jrt and based with two seeds.
4. Ask about 110 rows of each task in eval/ (every fifth row of FDA and NQ,
   sixth of TriviaQA, eighth of DROP, ninth of SQuAD), with contexts that fit
   half a sequence, with short and with long ones; record the likelihood of the
   gold answer too. In runs/, for each run RUN of its folder study:

python -m jrt_jax.recall --workdir=study/RUN --data=eval --context_tokens=230 \
    --tasks=fda,squad,drop,nq,triviaqa --likelihood --out=results/RUN/likely \
    --prompts=default,twice,question_first,hierarchical

   The field `command` of jrt_jax/reproduce/study/*/*/result.json has every
   command that was run.

On 2026-11-30, on two cores, everything that could be left out was left out. The
best rate was 2.7e-2 for jrt and based, and 9e-3 for attention.

Source: models and objective of https://arxiv.org/abs/2407.05483, made small;
sinks of https://arxiv.org/abs/2309.17453.
"""

from configs import base

_HYBRID = ('conv', 'pla', 'swa', 'conv', 'pla', 'swa', 'conv')

# How the arms differ. The widths of the MLPs make up for the parameters that
# some mixers have fewer of.
ARMS = {
    'jrt': dict(mixers=_HYBRID, mlp_width=256),
    'based': dict(
        mixers=tuple({'pla': 'la'}.get(x, x) for x in _HYBRID), mlp_width=272
    ),
    'attention': dict(mixers=('attention',) * 7, mlp_width=300),
    'swa_sinks': dict(mixers=('swa',) * 7, mlp_width=300, sinks=4),
}


def get_config(choice='jrt'):
  """Returns the config of an arm, or of ARM@RATE."""
  arm, _, rate = choice.partition('@')
  if arm not in ARMS:
    raise ValueError(
        '--config=configs/study.py:ARM@RATE must name an arm of'
        f' {[*ARMS]}, got {arm!r}'
    )
  config = base.get_config()
  config.steps = 1464
  config.batch_size = 8
  config.sequence_length = 512

  config.model.width = 128
  config.model.num_heads = 4
  config.model.vocab_size = 4096
  config.model.mask_id = 4095
  config.model.window = 65
  config.model.dtype = 'float32'
  config.model.update(ARMS[arm])

  config.data.source = 'shards'
  config.data.repeat = 0.25
  config.data.num_threads = 1
  config.prefix.name = 'uniform' if arm == 'jrt' else 'none'
  config.objective.name = 'jrt' if arm == 'jrt' else 'next_token'

  config.optimizer.peak_lr = float(rate or 3e-3)
  config.optimizer.min_lr = config.optimizer.peak_lr / 10
  config.optimizer.warmup_steps = 50

  config.eval_every = 366
  config.eval_batches = 64
  config.checkpoint_every = 183
  return config
