"""The steps of reproduce.py: plan, results, table. Imports what is below it."""
