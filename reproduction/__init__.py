"""The steps of reproduce.py, and whether their results are there. Imports what is below it."""
