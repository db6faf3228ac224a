"""The public names of eventcore, and nothing else."""

__version__ = "0.1.0"
