"""The recurrence of Gated DeltaNet and, without its erasing, of Mamba-2."""
