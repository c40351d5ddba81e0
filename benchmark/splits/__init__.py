"""Splits any network at a layer: F = G o psi, with psi the forward pass up to it and G the rest. Needs torch alone.

A plain chain (``nn.Sequential``) is split by its indices. Any other module is split by forward hooks (``hooks``), and
tokens are folded to maps (``tokens``).
"""
