"""How long a prefix each prompt needs, learned from what others have answered."""
