"""From probabilities to evidence: figures, tables, heat maps, the report page.

Imports `inference`, `public_data` and what is below them.
"""
