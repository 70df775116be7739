"""READERS: what reads files of others, and a valid file for each."""

from fuzz import data_files
from fuzz import model_files
from fuzz import recall_files

READERS = data_files.READERS | model_files.READERS | recall_files.READERS
