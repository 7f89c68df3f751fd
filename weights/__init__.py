"""Weight files, Paddle's and PyTorch's, read and written. Imports `runtime` only."""
