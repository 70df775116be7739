"""Operations for recurrent language models, in JAX.

This package imports jax and numpy only; it can be used without jrt_jax.
"""

from pallas_kernels.gated_delta_rule.api import (
    gated_delta_rule as gated_delta_rule,
)
from pallas_kernels.gated_delta_rule.api import (
    gated_delta_rule_state as gated_delta_rule_state,
)
from pallas_kernels.gated_delta_rule.api import (
    gated_delta_rule_step as gated_delta_rule_step,
)
from pallas_kernels.prefix_linear_attention import feature_maps as feature_maps
from pallas_kernels.prefix_linear_attention.api import (
    prefix_linear_attention as prefix_linear_attention,
)
from pallas_kernels.prefix_linear_attention.decode import (
    prefix_linear_attention_step as prefix_linear_attention_step,
)
from pallas_kernels.prefix_linear_attention.feature_maps import (
    FeatureMap as FeatureMap,
)
from pallas_kernels.prefix_linear_attention.inputs import State as State
from pallas_kernels.prefix_linear_attention.inputs import (
    zero_state as zero_state,
)
from pallas_kernels.prefix_linear_attention.ridge import (
    prefix_sums as prefix_sums,
)
from pallas_kernels.prefix_linear_attention.ridge import (
    PrefixSums as PrefixSums,
)
from pallas_kernels.prefix_linear_attention.ridge import (
    ridge_state as ridge_state,
)
