"""Questions that are drawn, with their answers, to train and to test recall."""
