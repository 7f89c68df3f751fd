"""The steps of reproduce.py, and whether their results are there. Imports `nih`, `training`."""
