"""Saving: programs to files and back. What is registered, and only that, can be made again."""
