"""Measurements: `make bench`, or `make bench ONLY=launch`. docs/performance.md is made of them."""
