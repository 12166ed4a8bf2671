"""What to do: what lies at a path, what it holds, what to train on it and at what cost, and what a run shows."""
