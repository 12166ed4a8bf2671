"""Which is better, and is it more than noise: sweeps, runs and ways of drawing, measured alike and judged."""
