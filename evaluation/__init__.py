"""From probabilities to evidence: figures, tables, heat maps, the report page.

Imports `inference`, `nih`, the parts and `runtime`.
"""
