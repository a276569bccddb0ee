"""Speed, side by side with what others do: `python -m benchmarks.bench_NAME` from the root of the repository."""
