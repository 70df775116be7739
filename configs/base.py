"""Every key that a run can be configured with, its default and its range.

The defaults are the paper's JRT-RNN 360M (https://arxiv.org/abs/2407.05483):
its model, objective and recipe. Other configs change only what differs.
"""

from collections.abc import Mapping
from typing import Any

import ml_collections

from jrt_jax.schema import AnyOf
from jrt_jax.schema import Fields
from jrt_jax.schema import Flag
from jrt_jax.schema import ListOf
from jrt_jax.schema import OneOf
from jrt_jax.schema import Real
from jrt_jax.schema import Text
from jrt_jax.schema import Whole

_MIXERS = OneOf('conv', 'pla', 'la', 'swa', 'attention')
# Of one kernel; `mixture` adds several up, `hybrid_heads` divides the heads.
_MAPS = (
    *('linear', 'relu', 'gelu', 'gelu_shifted', 'elu_plus_one', 'polynomial'),
    *('taylor_exp', 'symmetric_power', 'gaussian_rff', 'gaussian_prf', 'mlp'),
    'hedgehog',
)
# Kinds of prompts.
_PROMPTS = (
    *('default', 'twice', 'question_first', 'context_twice', 'shared_context'),
    'hierarchical',
)
# Questions that are drawn, with their answers; no text.
SYNTHETIC = (
    *('set_disjointness', 'mqar', 'general_associative_recall'),
    *('selective_recall', 'needle', 'forward_reference', 'multi_hop'),
)
_SIZES = ListOf(AnyOf(Whole(1, 10**6), ListOf(Whole(1, 10**6), 2, 2)), 0, 1000)
_COUNT = Whole(1, 10**9)
_COUNT_OR_0 = Whole(0, 10**9)

# Each key: its default and what it may be; the comment says what it is.
KEYS = dict(
    # of the initial weights, the data order, masks and prefixes
    seed=(0, Whole(0, 2**32 - 1)),
    steps=(60_000, _COUNT),  # optimizer steps
    # sequences in a step, over all devices
    batch_size=(256, Whole(1, 2**16)),
    # tokens that the model reads in a sequence
    sequence_length=(2048, Whole(1, 2**22)),
    # sequences at once; the rest accumulates
    microbatch_per_device=(8, Whole(1, 2**16)),
    # a workdir, or builtin:NAME, whose newest weights (only) start this run
    init_from=('', Text()),
    model=dict(
        mixers=(  # by layer
            ('conv', 'pla', 'swa', 'conv', 'conv') * 5 + ('conv',),
            ListOf(_MIXERS, 1, 512),
        ),
        width=(1024, Whole(1, 2**16)),  # E, of the residual stream
        num_heads=(16, Whole(1, 2**10)),  # H, of all mixers but conv
        mlp_width=(2048, Whole(1, 2**18)),  # M, of the SwiGLU MLP
        # ids that exist, GPT-2's 50257 and padding up to 8; a tokenizer that has
        # no room in them sets both keys: its ids, and [MASK] after them
        vocab_size=(50_264, Whole(1, 2**24)),
        # embedding rows are padded to it, so that they shard
        vocab_multiple=(128, Whole(1, 2**16)),
        # [MASK], the last of them
        mask_id=(50_263, Whole(0, 2**24)),
        feature_map=dict(
            name=('taylor_exp', OneOf(*_MAPS, 'hybrid_heads', 'mixture')),
            # D, query and key width of a head before the map
            feature_dim=(16, Whole(1, 2**10)),
            order=(2, Whole(1, 8)),  # of taylor_exp
            degree=(2, Whole(1, 8)),  # of polynomial and symmetric_power
            offset=(1.0, Real(0, 10**6)),  # c of polynomial, (c + s)^degree
            # F of gaussian_rff, gaussian_prf and mlp
            num_features=(152, Whole(1, 2**16)),
            # of hybrid_heads (by head) and mixture (a kernel)
            parts=(('taylor_exp', 'hedgehog'), ListOf(OneOf(*_MAPS), 2, 8)),
            # hybrid_heads: of each part; empty: equally many
            heads=((), ListOf(Whole(1, 2**10), 0, 8)),
            # a map of its own for prefix keys; learned maps only
            separate_encoder=(False, Flag()),
        ),
        # of linear attention; output_rms: RMSNorm of a head's outputs; auto:
        # sum, or output_rms for maps whose weights can vanish
        normalizer=(
            'auto',
            OneOf('auto', 'sum', 'clamp', 'none', 'output_rms'),
        ),
        # what computes linear attention; mosaic_sm90: kernels for Hopper GPUs;
        # mosaic_sm90_or_chunked: likewise, and chunked what they cannot take;
        # auto: that where the kernels were found right, and else chunked
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
        # W, keys a query of a swa layer sees, itself included
        window=(129, Whole(1, 2**22)),
        # and the first keys of its document that it sees besides (attention
        # sinks, https://arxiv.org/abs/2309.17453)
        sinks=(0, Whole(0, 2**10)),
        # of rotary embeddings in swa and attention layers
        rope_base=(10_000.0, Real(1, 10**12)),
        rope_fraction=(1.0, Real(0, 1)),  # how much of each head they turn
        conv_kernel=(3, Whole(2, 2**8)),  # taps of a conv layer
        # its inner width over E, both halves together
        conv_expand=(4, Whole(1, 2**6)),
        norm_eps=(1e-5, Real(1e-12, 1)),  # of RMSNorm
        # of weights; residual outputs: over sqrt(2 layers)
        init_std=(0.02, Real(1e-9, 10)),
        # of activations and products; parameters are float32
        dtype=('bfloat16', OneOf('bfloat16', 'float32')),
        # of the residual stream between layers; norms compute in float32
        residual_dtype=('float32', OneOf('bfloat16', 'float32')),
        # what backward recomputes
        remat=('none', OneOf('none', 'full', 'dots')),
        # what a pad weighs; reference: as much as in the released models
        pad_mask=('exclude', OneOf('exclude', 'reference')),
    ),
    prefix=dict(
        name=(
            'fixed',
            OneOf('none', 'full', 'fixed', 'uniform', 'entropy', 'learned'),
        ),
        # of all but none and full: room / sequence_length
        capacity=(0.5, Real(0, 1)),
        # entropy, learned: of jrt_jax.prefix.calibrate or jrt_jax.prefix.learn;
        # without it entropy is calibrated on the training data
        file=('', Text()),
        # The rest is of entropy.
        signal=(
            'conditional_entropy',
            OneOf(
                'unigram_entropy',
                'conditional_entropy',
                'compression_ratio',
                'distinct_ratio',
            ),
        ),
        # tokens that it is measured on at a time; 0: all
        window=(0, Whole(0, 2**22)),
        aggregate=('mean', OneOf('mean', 'max', 'p90')),  # of windows
        # of the signal: where levels begin
        quantiles=((1 / 3, 2 / 3), ListOf(Real(0, 1), 1, 100)),
        base=(0.5, Real(1e-6, 1)),  # prefix of the middle level / room
        increment=(0.1, Real(1e-6, 1)),  # r, what a level adds
        # linear: 1 + r u; geometric: (1 + r)^u
        growth=('linear', OneOf('linear', 'geometric')),
        reduce=(True, Flag()),  # whether there are levels below the middle
        # lengths are rounded to it, within bounds
        multiple=(1, Whole(1, 2**22)),
    ),
    objective=dict(
        # jrt: next token + masked token
        name=('jrt', OneOf('next_token', 'prefix_lm', 'jrt')),
        # of the masked-token loss; the next-token loss has 1
        mlm_weight=(0.25, Real(0, 1000)),
        # chance of a prefix token to become [MASK]
        mask_rate=(0.15, Real(0, 1)),
        # the first token after the prefix; reference: not
        boundary=('predict', OneOf('predict', 'reference')),
        # id 0 as a masked-token label; reference: not
        token_zero=('predict', OneOf('predict', 'reference')),
    ),
    data=dict(
        # python_stdlib is built in; shards: of jrt_jax.data.prepare; megatron:
        # .bin and .idx of Megatron-LM and GPT-NeoX; others: synthetic tasks
        source=(
            'python_stdlib',
            OneOf(
                *('python_stdlib', 'text', 'jsonl', 'shards', 'megatron'),
                *SYNTHETIC,
            ),
        ),
        # text, jsonl: files, plain, .gz or .zst; megatron: files without their
        # .bin and .idx; both as comma-separated globs; shards: the folder
        path=('', Text(2**20)),
        text_key=('text', Text()),  # where a jsonl record keeps its text
        tokenizer=('bytes', Text()),  # bytes, or the path of a tokenizer.json
        # held-out files; empty: the end of the data
        validation_path=('', Text(2**20)),
        # of the data's tokens, when it is the end
        validation_fraction=(0.01, Real(1e-6, 0.99)),
        # documents: they do not see each other
        packing=('concat', OneOf('concat', 'documents')),
        # chance of a training sequence to have its first document, or what half
        # of it holds, twice: read once more, as by JRT-Prompt
        repeat=(0.0, Real(0, 1)),
        # shards against checksums, at start; False: sizes only
        verify=(True, Flag()),
        num_threads=(4, Whole(0, 2**8)),  # that read ahead; 0: none does
        synthetic=dict(  # of the synthetic tasks; 0 and (): as the task has it
            # of items, pairs or elements; pairs where a task takes two numbers
            sizes=((), _SIZES),
            # of the samples that are evaluated; (): as in training, or the task's
            held_out_sizes=((), _SIZES),
            num_ids=(0, Whole(0, 2**24)),  # V, [MASK] not included
            # what is remembered (D) and the question (Q) in a prompt
            order=(
                'DQ',
                OneOf(*('DQ', 'QD', 'QDQ', 'DDQ', 'DQDQ', 'QDDQ')),
            ),
            queries=(0, _COUNT_OR_0),  # answers asked of a sample; 0: all
            # of selective_recall: that there are, and items in each of those that
            # a sample has; 0: it has all, of equal size
            categories=(4, Whole(1, 10**6)),
            items_per_category=(0, _COUNT_OR_0),
            # set_disjointness: elements that are shared
            intersections=(1, Whole(1, 10**6)),
            binary=(False, Flag()),  # likewise: whether any is, yes or no
            hops=(
                2,
                Whole(1, 10**6),
            ),  # multi_hop: from a question to its answer
            # mixed: all sizes at every step; one_by_one, cumulative: one (more)
            # in each stage
            curriculum=('mixed', OneOf('mixed', 'one_by_one', 'cumulative')),
            # of each stage but the last
            stage_steps=((), ListOf(_COUNT, 0, 1000)),
        ),
    ),
    optimizer=dict(
        peak_lr=(8e-4, Real(1e-12, 10)),  # reached after the warm-up
        # reached at the last step, by a cosine
        min_lr=(8e-5, Real(0, 10)),
        initial_lr=(1e-6, Real(0, 10)),  # of the first step
        warmup_steps=(600, _COUNT_OR_0),
        b1=(0.9, Real(0, 0.9999)),
        b2=(0.95, Real(0, 0.999999)),
        eps=(1e-8, Real(1e-30, 1)),
        weight_decay=(0.1, Real(0, 10)),  # not on embeddings and biases
        clip_norm=(1.0, Real(0, 10**9)),  # of the global gradient; 0: never
        # skipped in a row until the run gives up, at a log
        max_bad_steps=(20, _COUNT),
        # skip gradient norms over it x their mean; 0: never
        spike_factor=(0.0, Real(0, 10**9)),
    ),
    mesh=dict(
        # replicas; -1: every device that the other axes leave
        data=(-1, AnyOf(OneOf(-1), Whole(1, 2**20))),
        # devices that share weights and optimizer states, and rows
        fsdp=(1, Whole(1, 2**20)),
        # devices that share heads, MLPs and the vocabulary
        tensor=(1, Whole(1, 2**20)),
    ),
    log_every=(10, _COUNT),  # steps between two lines of metrics
    wandb_project=('', Text(128)),  # where wandb shows them; empty: nowhere
    # steps between two evaluations; 0: at the end only
    eval_every=(1000, _COUNT_OR_0),
    # of batch_size, or all of the held-out data
    eval_batches=(4, _COUNT),
    # questions about contexts, answered on the way
    probes=dict(
        every=(0, _COUNT_OR_0),  # steps between two probings; 0: never
        # a .jsonl of context, question and answers; empty: names and numbers
        path=('', Text()),
        count=(32, Whole(1, 10**5)),  # questions, at most
        pairs=(8, Whole(1, 10**4)),  # of a name and a number, in a context
        # how a context is read: default once, twice as in JRT-Prompt
        prompts=(('default', 'twice'), ListOf(OneOf(*_PROMPTS), 1, 6)),
    ),
    checkpoint_every=(1000, _COUNT),  # steps between two checkpoints
    keep_checkpoints=(2, _COUNT),  # newest ones kept
    # steps whose checkpoints are kept for good; 0: none
    keep_every=(20_000, _COUNT_OR_0),
    # length of the sample after the last step
    sample_tokens=(200, Whole(1, 2**16)),
)


def get_config() -> ml_collections.ConfigDict:
  """Returns the defaults, locked: a key that is not here cannot be set."""
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
  """Raises ValueError unless each key exists and is within its range.

  Whether they fit together is checked by what takes them.
  """
  RANGES.check('config', config)
