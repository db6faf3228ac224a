"""Training: the trainer and its loop, rewards, metrics, callbacks, data."""
