"""JRT-Prompt, trained: a causal model that reads its prompt twice.

The task and the models are those of `set_disjointness_trained`, whose states
are too small for the causal model, so that a prefix helps. After reading both
sets once, a model can know which element they share, and store it when it reads
them again.

Rule, fixed before anything was measured: that of `gains`. Reading twice must
gain over reading once, after as many steps, and after twice the steps, which
take as many tokens. The least gain is 0; the control is softmax attention.

A first form of this exhibit had the twice larger states of `baselines`. It was
given up after runs with one seed (trials of learning rates), in which no mixer
gained by reading twice: there a prefix does not help linear attention either
(`set_disjointness_baselines`).
"""

from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import gains
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import set_disjointness_trained

_WORDS = {
    'twice': 'linear attention, causal, read twice (JRT-Prompt)',
    'once': 'the same, read once',
    'longer': 'the same, read once, trained for twice the steps',
    'attention': 'control: softmax attention, causal, read once',
}


def _sweep(scale):
  once = set_disjointness_trained.settings(scale)
  twice = {
      'data.synthetic.order': 'DDQ',  # the question is empty
      'sequence_length': 2 * once['sequence_length'],
  }
  longer = {
      key: 2 * once[key] for key in ('steps', 'eval_every', 'checkpoint_every')
  }
  return arms_lib.sweep(
      'set_disjointness',
      once | _mixer('la'),
      {
          'twice': twice,
          'once': {},
          'longer': longer,
          'attention': _mixer('attention'),
      },
      rates=set_disjointness_trained.RATES,
      num_seeds=5,
      loss=training.LOSS,
  )


def _mixer(name):
  return {'model.mixers': ('conv', name, 'conv', name)}


EXHIBIT = gains.make(
    arms_lib.Arms(_WORDS, {s: [_sweep(s)] for s in exhibit.SCALES}),
    {
        'reading twice over reading once': gains.Pair('twice', 'once'),
        'the same with as many tokens': gains.Pair('twice', 'longer'),
    },
    caption=(
        'Shared elements that are found (%), at the best learning rate of each'
        ' model and for fresh seeds'
    ),
    title='JRT-Prompt, trained: a causal model that reads its prompt twice',
    source='Arora et al. 2024, section 3 and Table 1',
    claim=(
        'A causal recurrent model whose state is small recalls more if the prompt'
        ' is shown to it twice, in training and in use.'
    ),
    at_paper_scale=lambda: exhibit.AtPaperScale(
        ['python -m jrt_jax.reproduce jrt_prompt_trained --scale=gpu'],
        None,
        'The paper shows prompts twice to models that were trained by others on'
        ' usual text.',
    ),
)
