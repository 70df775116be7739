"""JRT-Prompt, trained: causal models that read their prompt twice.

The task is set disjointness: after reading both sets once, a model knows which
elements are shared, and it can store these when it reads the sets again. Models
and their states are those of `baselines`. A prompt has about 20 tokens, so that
training for as many steps takes twice the tokens if it is shown twice.

Rule, fixed before anything was measured: that of `gains`. Reading twice must
gain over reading once for each of three recurrent mixers, after as many steps;
and for linear attention also over reading once after twice the steps, which
takes as many tokens. The least gain is 0; the control is softmax attention.

The learning rates were chosen around the best ones of single runs that read
once, with seed 0.
"""

from jrt_jax.reproduce import arms as arms_lib
from jrt_jax.reproduce import exhibit
from jrt_jax.reproduce import gains
from jrt_jax.reproduce import training
from jrt_jax.reproduce.exhibits import baselines

_MIXERS = {
    'la': 'linear attention',
    'gdn': 'Gated DeltaNet',
    'mamba2': 'Mamba-2',
}
_WORDS = {
    f'{mixer}_{times}': f'{words}, read {times}'
    for mixer, words in _MIXERS.items()
    for times in ('once', 'twice')
} | {
    'la_longer': 'linear attention, read once, twice the steps',
    'attention': 'control: softmax attention, read once',
}
_RATES = (2e-3, 5e-3, 1.2e-2)


def _sweeps(scale):
  once = baselines.settings('set_disjointness', scale)
  longer = {
      key: 2 * once[key] for key in ('steps', 'eval_every', 'checkpoint_every')
  }
  twice = {
      'data.synthetic.order': 'DDQ',  # of an empty question
      'sequence_length': 2 * once['sequence_length'],
  }
  arms = {'la_longer': baselines.arm('la') | longer}
  for mixer in _MIXERS:
    arms[f'{mixer}_once'] = baselines.arm(mixer)
    arms[f'{mixer}_twice'] = baselines.arm(mixer) | twice
  make = lambda arms, num_seeds: arms_lib.sweep(
      'set_disjointness',
      once,
      arms,
      rates=_RATES,
      num_seeds=num_seeds,
      loss=training.LOSS,
  )
  return make(arms, 5), make({'attention': baselines.arm('attention')}, 2)


_PAIRS = {
    f'{words}, twice over once': gains.Pair(f'{mixer}_twice', f'{mixer}_once')
    for mixer, words in _MIXERS.items()
} | {
    'linear attention, twice over once with as many tokens': gains.Pair(
        'la_twice', 'la_longer'
    )
}

EXHIBIT = gains.make(
    arms_lib.Arms(_WORDS, {s: _sweeps(s) for s in exhibit.SCALES}),
    _PAIRS,
    caption=(
        'Shared elements that are found (%), at the best learning rate of each'
        ' model and for fresh seeds'
    ),
    title='JRT-Prompt, trained: causal models that read their prompt twice',
    source='Arora et al. 2024, section 3 and Table 1',
    claim=(
        'A causal recurrent model recalls more if the prompt is shown to it twice,'
        ' in training and in use.'
    ),
    at_paper_scale=lambda: exhibit.AtPaperScale(
        ['python -m jrt_jax.reproduce jrt_prompt_trained --scale=gpu'],
        None,
        'The paper shows prompts twice to models that were trained by others on'
        ' usual text.',
    ),
)
