"""Effects, rollouts and derived randomness: what makes a run repeatable."""
