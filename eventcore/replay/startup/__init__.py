"""A folder for the path of processes that run a script again; it holds nothing else."""
