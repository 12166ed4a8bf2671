"""Trained runs as a service: requests of any samplers, steps and conditions share every network call."""
