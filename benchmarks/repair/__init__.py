"""Injected drift in real packages: how much of it the repair tool finds, and how much it mends without harm."""
