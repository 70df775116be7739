"""Learned prefix lengths: a policy is fitted to the scores of other prompts."""
