"""What tests of eventcore and of its extensions are built from, shipped so that others can use it.

Nothing is imported here: `eventcore.testing.backends` needs pytest, the machines need hypothesis.
"""
