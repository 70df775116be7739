"""What the released code gives, for tests of several modules."""
