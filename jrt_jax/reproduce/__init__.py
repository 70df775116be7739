"""Measures the tables and figures of the paper and the report again."""
