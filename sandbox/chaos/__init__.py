"""Chaos: the whole stack under load while its processes are killed, its stores emptied and the network cut.

Who does what and what goes wrong when follows from a seed; the comparison at the end is the demo's, exact.
"""
