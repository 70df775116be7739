"""Does a model recall what it has read? Tasks, scores, errors, tables."""
