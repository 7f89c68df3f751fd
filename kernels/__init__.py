"""Faster CPU kernels than Paddle's own: oneDNN through its C interface. Imports Paddle only."""
