"""The configs of training runs: values only, no program logic."""
