"""From text to batches: sources, tokenizers, objectives, the pipeline."""
