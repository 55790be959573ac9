"""The demo: a fleet of simulated phones against the whole stack, and an exact comparison of what is with what must be.

It speaks HTTP alone: to tokenhub as phones and their servers do, and to the sandbox's admin path.
"""
