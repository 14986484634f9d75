"""The part of ds-sandbox that runs inside a Python kernel. Loaded by launch.py, off the user's path."""
