"""The benchmarks behind docs/performance.md, each with its goal: ``python -m bench``."""
