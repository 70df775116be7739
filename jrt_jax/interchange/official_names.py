"""The names in config.json of HazyResearch's models.

A layer has the mixer `alt_mixer_2` or `alt_mixer` if their lists of layers
include it, else `mixer`; null there is softmax attention over all tokens.

Source: https://github.com/HazyResearch/prefix-linear-attention.
"""

SLOTS = ('mixer', 'alt_mixer', 'alt_mixer_2')

_PACKAGE = 'based.models.mixers'
TARGETS = {
    'conv': f'{_PACKAGE}.convolution.BaseConv',
    'pla': f'{_PACKAGE}.prefix_linear_attention.PrefixLinearAttention',
    'la': f'{_PACKAGE}.linear_attention.LinearAttention',
    'swa': f'{_PACKAGE}.slide_attention.SlidingAttention',
}
TAYLOR = f'{_PACKAGE}.linear_attention.TaylorExp'

# Mixers, by the class at the end of their `_target_`.
KINDS = {
    **{target.split('.')[-1]: kind for kind, target in TARGETS.items()},
    'BaseConvWithSiLU4': 'conv',  # names of older checkpoints
    'SlidingsMHA': 'swa',
}

# Settings that our models always have; the shapes of weights do not show them.
ALWAYS = {
    'activation_function': 'swiglu',
    'rms_norm': True,
    'prenorm': True,
    'parallel_block': False,
    'tie_word_embeddings': True,
    'scale_attn_weights': True,
    'scale_attn_by_inverse_layer_idx': False,
    'rotary_emb_interleaved': False,
    'rotary_emb_scale_base': None,
    'use_alibi': False,
    'fixed_decay': False,
}
