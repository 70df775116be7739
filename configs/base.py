"""Every key that a run can be configured with, its default and its range.

The defaults are the paper's JRT-RNN 360M (https://arxiv.org/abs/2407.05483):
its model, objective and recipe. Other configs change only what differs.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from configs.keys import data
from configs.keys import feature_map
from configs.keys import gdn
from configs.keys import mamba2
from configs.keys import mesh
from configs.keys import objective
from configs.keys import optimizer
from configs.keys import pla
from configs.keys import prefix
from configs.keys import probes
from configs.keys import readers
from jrt_jax.schema import AnyOf
from jrt_jax.schema import Fields
from jrt_jax.schema import Flag
from jrt_jax.schema import KeyOf
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

_COUNT = Whole(1, 10**9)
_COUNT_OR_0 = Whole(0, 10**9)

# Each key has a default, a range, and a comment that says what it sets.
KEYS: dict[str, Any] = dict(
    # seed of the initial weights, the order of the data, masks and prefixes
    seed=(0, Whole(0, 2**32 - 1)),
    steps=(60_000, _COUNT),  # optimizer steps of the whole run
    # sequences in one step, over all devices
    batch_size=(256, Whole(1, 2**16)),
    # tokens of a sequence
    sequence_length=(2048, Whole(1, 2**22)),
    # sequences that a device processes at once; gradients accumulate
    microbatch_per_device=(8, Whole(1, 2**16)),
    # a workdir or builtin:NAME: its newest weights, and nothing else, start the
    # run
    init_from=('', Text()),
    # whether weights that init_from lacks are new; otherwise that is an error
    init_new=(False, Flag()),
    model=dict(
        mixers=(  # the mixer of each layer
            ('conv', 'pla', 'swa', 'conv', 'conv') * 5 + ('conv',),
            ListOf(KeyOf(readers.MIXERS), 1, 512),
        ),
        width=(1024, Whole(1, 2**16)),  # E, width of the residual stream
        num_heads=(16, Whole(1, 2**10)),  # H, heads of every mixer except conv
        # M, inner width of the SwiGLU MLP; 0: layers have no MLP
        mlp_width=(2048, Whole(0, 2**18)),
        # number of token ids: the 50257 of GPT-2, padded to a multiple of 8. If
        # the tokenizer needs more, training sets vocab_size to its number of
        # ids + 1, and mask_id to the last id
        vocab_size=(50_264, Whole(1, 2**24)),
        # embedding rows are padded to this multiple, so that they shard
        vocab_multiple=(128, Whole(1, 2**16)),
        # id of [MASK]
        mask_id=(50_263, Whole(0, 2**24)),
        # feature map of linear attention
        feature_map=feature_map.KEYS,
        # pla layers: how they read the prefix
        pla=pla.KEYS,
        # normalizer of linear attention. output_rms applies RMSNorm to the
        # outputs of each head. auto is sum, or output_rms for feature maps
        # whose attention weights can be zero or negative
        normalizer=(
            'auto',
            OneOf('auto', 'sum', 'clamp', 'none', 'output_rms'),
        ),
        # implementation of linear attention. mosaic_sm90: the kernels for
        # Hopper GPUs; mosaic_sm90_or_chunked: the kernels, and chunked for
        # inputs that they do not support; auto: the latter on GPUs where the
        # kernels passed their check, chunked elsewhere
        implementation=(
            'auto',
            OneOf(
                'auto',
                'mosaic_sm90',
                'mosaic_sm90_or_chunked',
                'chunked',
                'reference',
            ),
        ),
        # swa layers: W, the number of latest tokens that a token attends to,
        # itself included
        window=(129, Whole(1, 2**22)),
        # swa layers: how many first tokens of its document a token also attends
        # to (attention sinks, https://arxiv.org/abs/2309.17453)
        sinks=(0, Whole(0, 2**10)),
        # swa and attention layers: base of the rotary embeddings
        rope_base=(10_000.0, Real(1, 10**12)),
        # share of each head's dimensions that rotary embeddings rotate
        rope_fraction=(1.0, Real(0, 1)),
        conv_kernel=(3, Whole(2, 2**8)),  # conv layers: taps of the filter
        # conv layers: width of values and gates together, as a multiple of E
        conv_expand=(4, Whole(1, 2**6)),
        # gdn and prefix_gdn layers (https://arxiv.org/abs/2412.06464)
        gdn=gdn.KEYS,
        # mamba2 and prefix_mamba2 layers (https://arxiv.org/abs/2405.21060)
        mamba2=mamba2.KEYS,
        norm_eps=(1e-5, Real(1e-12, 1)),  # epsilon of RMSNorm
        # standard deviation of initial weights; projections that add to the
        # residual stream have it divided by sqrt(2 * layers)
        init_std=(0.02, Real(1e-9, 10)),
        # dtype of activations and products; parameters are float32
        dtype=('bfloat16', OneOf('bfloat16', 'float32')),
        # dtype of the residual stream between layers; norms compute in float32
        residual_dtype=('float32', OneOf('bfloat16', 'float32')),
        # what the backward pass recomputes: full: whole layers; dots: all but
        # the results of matrix products
        remat=('none', OneOf('none', 'full', 'dots')),
        # padding tokens: exclude gives them no weight; reference treats them
        # as the released models do
        pad_mask=('exclude', OneOf('exclude', 'reference')),
    ),
    prefix=prefix.KEYS,
    objective=objective.KEYS,
    data=data.KEYS,
    optimizer=optimizer.KEYS,
    # each axis: number of devices along it
    mesh=mesh.KEYS,
    log_every=(10, _COUNT),  # steps between two lines of metrics
    # Weights & Biases project that the metrics are sent to; empty: none
    wandb_project=('', Text(128)),
    # steps between two evaluations; 0: only after the last step
    eval_every=(1000, _COUNT_OR_0),
    # batches of batch_size that an evaluation reads, or all if there are fewer
    eval_batches=(4, _COUNT),
    # questions about contexts that the model answers during training
    probes=probes.KEYS,
    checkpoint_every=(1000, _COUNT),  # steps between two checkpoints
    keep_checkpoints=(2, _COUNT),  # how many of the newest are kept
    # checkpoints at multiples of this step are never deleted; 0: none
    keep_every=(20_000, _COUNT_OR_0),
    # seconds that a step may take until the run counts as stuck and ends, so
    # that a scheduler can start it again; evaluations, saves and compilation
    # may take longer. -1: 20 times the median step, at least 5 minutes; 0: any
    # time
    stall_seconds=(-1, AnyOf(OneOf(-1), _COUNT_OR_0)),
    # tokens of the text that the model generates after the last step
    sample_tokens=(200, Whole(1, 2**16)),
)


def get_config() -> Any:
  """Returns the defaults as a locked ConfigDict: no key can be added.

  The type is `Any`, since type checkers do not know which keys are ConfigDicts.
  """
  config = ml_collections.ConfigDict(_part(KEYS, 0))
  config.lock()
  return config


def _part(keys, index):
  """The defaults (0) or the ranges (1) of nested `keys`."""
  return {
      name: _part(key, index) if isinstance(key, Mapping) else key[index]
      for name, key in keys.items()
  }


RANGES = Fields({}, optional=_part(KEYS, 1))


def check(config: Mapping[str, Any]) -> None:
  """Raises ValueError unless each key exists and its value is in its range.

  Whether values fit together is checked where they are used.
  """
  RANGES.check('config', config)
