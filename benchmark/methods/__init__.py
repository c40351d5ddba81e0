"""Finds and describes methods, and holds their explanations to a contract."""
