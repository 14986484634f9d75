"""Figures as data: one module a library, and the shapes they share (E2B's chart objects)."""
