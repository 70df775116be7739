"""From a prompt to text."""

from jrt_jax.generation.completions import Continuation as Continuation
from jrt_jax.generation.completions import generate as generate
from jrt_jax.generation.continued_text import Completion as Completion
from jrt_jax.generation.conversation import Conversation as Conversation
from jrt_jax.generation.document_memory import DocumentMemory as DocumentMemory
from jrt_jax.generation.loading import load as load
from jrt_jax.generation.loading import of_weights as of_weights
from jrt_jax.generation.model import Model as Model
from jrt_jax.generation.settings import GenerationSettings as GenerationSettings
from jrt_jax.models.sampling import Sampling as Sampling
