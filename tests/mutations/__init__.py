"""Each protection has a test that fails when it is taken out: `make mutations` takes them out, one by one.

Libraries such as mutmut and cosmic-ray generate mutants of every line; this table names what is to be protected, and
takes out just that.
"""
