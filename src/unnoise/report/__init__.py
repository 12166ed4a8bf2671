"""What a run looks like: grids of samples, films, curves, pictures of schedules and plans, the HTML report."""
