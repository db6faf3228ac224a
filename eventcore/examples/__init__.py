"""Runnable programs that come with the library.

`personalize` is the module and program of the guide to trainable variables, `greet` loads it again in
another process, `demo` is the tour that `eventcore demo` runs. `intents` learns offline, on the data set of
`docstrings`; `hints` learns with a model; `gepa_prompts` is GEPA, killed and resumed. Nothing of the library
imports them.
"""
