"""Other people's optimizers, unmodified, made resumable and replayable.

`gepa` for the package of that name, `dspy` for the language models of DSPy's optimizers. Each is imported on
its own and needs the package it is for: `pip install "eventcore[gepa]"`, `pip install "eventcore[dspy]"`.
"""
