"""The storage backends that come with eventcore, installed as `eventcore.backends`.

A backend moves bytes and knows nothing of what an event means. Each one is found by its
entry point, so this package imports none of them: opening a memory store never loads LMDB.
"""
