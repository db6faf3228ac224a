"""The optimizers that come with eventcore, installed as `eventcore.optimizers`.

An optimizer proposes new values for trainable variables. It never writes state by itself: what it
chooses reaches a variable as an event, like every other mutation.
"""
