"""Just Read Twice language models in JAX: recurrent models that read twice."""

__version__ = '0.1.0'
