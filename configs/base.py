"""Every key that a run can be configured with, and its default.

The defaults are the paper's JRT-RNN 360M (https://arxiv.org/abs/2407.05483):
its model, objective and recipe. Other configs change only what differs.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  """Returns the defaults, locked: a key that is not here cannot be set."""
  config = ml_collections.ConfigDict()

  config.seed = 0  # of the initial weights, the data order, masks and prefixes
  config.steps = 60_000  # optimizer steps
  config.batch_size = 256  # sequences in a step, over all devices
  config.sequence_length = 2048  # tokens that the model reads in a sequence
  config.microbatch_per_device = 8  # sequences at once; the rest accumulates
  config.init_from = ''  # a workdir whose newest weights (only) start this run

  config.model = dict(
      mixers=('conv', 'pla', 'swa', 'conv', 'conv') * 5 + ('conv',),  # by layer
      width=1024,  # E, of the residual stream
      num_heads=16,  # H, of all mixers but conv
      mlp_width=2048,  # M, of the SwiGLU MLP
      # ids that exist, GPT-2's 50257 and padding up to 8; a tokenizer that has
      # no room in them sets both keys: its ids, and [MASK] after them
      vocab_size=50_264,
      vocab_multiple=128,  # embedding rows are padded to it, so that they shard
      mask_id=50_263,  # [MASK], the last of them
      feature_map=dict(
          # linear, relu, gelu, gelu_shifted, elu_plus_one, polynomial,
          # taylor_exp, symmetric_power, gaussian_rff, gaussian_prf, mlp,
          # hedgehog, or several: hybrid_heads (by head), mixture (a kernel)
          name='taylor_exp',
          feature_dim=16,  # D, query and key width of a head before the map
          order=2,  # of taylor_exp
          degree=2,  # of polynomial and symmetric_power
          offset=1.0,  # c of polynomial, (c + s)^degree
          num_features=152,  # F of gaussian_rff, gaussian_prf and mlp
          parts=('taylor_exp', 'hedgehog'),  # of hybrid_heads and mixture
          heads=(),  # hybrid_heads: of each part; empty: equally many
          separate_encoder=False,  # a map of its own for prefix keys; learned
      ),
      # of linear attention: sum, clamp, none, output_rms (RMSNorm of a head's
      # outputs), or auto: sum, or output_rms for maps whose weights can vanish
      normalizer='auto',
      # what computes linear attention: mosaic_sm90 (Hopper GPUs), chunked,
      # reference, or auto: mosaic_sm90 where it has been measured, or chunked
      implementation='auto',
      window=129,  # W, keys a query of a swa layer sees, itself included
      rope_base=10_000.0,  # of rotary embeddings in swa and attention layers
      rope_fraction=1.0,  # how much of each head they turn
      conv_kernel=3,  # taps of a conv layer
      conv_expand=4,  # its inner width over E, both halves together
      norm_eps=1e-5,  # of RMSNorm
      init_std=0.02,  # of weights; residual outputs: over sqrt(2 layers)
      dtype='bfloat16',  # of activations and products; parameters are float32
      remat='none',  # what backward recomputes: none, full or dots
      pad_mask='exclude',  # what a pad weighs; reference: as released models
  )

  config.prefix = dict(
      name='fixed',  # none, full, fixed, uniform, entropy or learned
      capacity=0.5,  # of all but none and full: room / sequence_length
      # entropy, learned: of jrt_jax.prefix.calibrate or jrt_jax.prefix.learn;
      # without it entropy is calibrated on the training data
      file='',
      # The rest is of entropy: unigram_entropy, conditional_entropy,
      # compression_ratio or distinct_ratio
      signal='conditional_entropy',
      window=0,  # tokens that it is measured on at a time; 0: all
      aggregate='mean',  # of windows: mean, max or p90
      quantiles=(1 / 3, 2 / 3),  # of the signal: where levels begin
      base=0.5,  # prefix of the middle level / room
      increment=0.1,  # r, what a level adds
      growth='linear',  # 1 + r u; geometric: (1 + r)^u
      reduce=True,  # whether there are levels below the middle
      multiple=1,  # lengths are rounded to it, within bounds
  )

  config.objective = dict(
      name='jrt',  # next_token, prefix_lm or jrt (next token + masked token)
      mlm_weight=0.25,  # of the masked-token loss; the next-token loss has 1
      mask_rate=0.15,  # chance of a prefix token to become [MASK]
      boundary='predict',  # the first token after the prefix; reference: not
      token_zero='predict',  # id 0 as a masked-token label; reference: not
  )

  config.data = dict(
      # python_stdlib (built in), text, jsonl, shards (of jrt_jax.data.prepare)
      # or megatron (.bin and .idx of Megatron-LM and GPT-NeoX)
      source='python_stdlib',
      # text, jsonl: files, plain, .gz or .zst; megatron: files without their
      # .bin and .idx; both as comma-separated globs; shards: the folder
      path='',
      text_key='text',  # where a jsonl record keeps its text
      tokenizer='bytes',  # bytes, or the path of a tokenizer.json
      validation_path='',  # held-out files; empty: the end of the data
      validation_fraction=0.01,  # of the data's tokens, when it is the end
      packing='concat',  # concat; documents: they do not see each other
      verify=True,  # shards against checksums, at start; False: sizes only
      num_threads=4,  # that read ahead
  )

  config.optimizer = dict(
      peak_lr=8e-4,  # reached after the warm-up
      min_lr=8e-5,  # reached at the last step, by a cosine
      initial_lr=1e-6,  # of the first step
      warmup_steps=600,
      b1=0.9,
      b2=0.95,
      eps=1e-8,
      weight_decay=0.1,  # not on embeddings and biases
      clip_norm=1.0,  # of the global gradient
      max_bad_steps=20,  # skipped in a row until the run gives up, at a log
      spike_factor=0.0,  # skip gradient norms over it x their mean; 0: never
  )

  config.mesh = dict(
      data=-1,  # replicas; -1: every device that the other axes leave
      fsdp=1,  # devices that share weights and optimizer states, and rows
      tensor=1,  # devices that share heads, MLPs and the vocabulary
  )

  config.log_every = 10  # steps between two lines of metrics
  config.wandb_project = ''  # where wandb shows them too; empty: nowhere
  config.eval_every = 1000  # steps between two evaluations; 0: at the end only
  config.eval_batches = 4  # of batch_size, or all of the held-out data
  config.checkpoint_every = 1000  # steps between two checkpoints
  config.keep_checkpoints = 2  # newest ones kept
  config.keep_every = 20_000  # steps whose checkpoints are kept for good
  config.sample_tokens = 200  # length of the sample after the last step

  config.lock()
  return config
