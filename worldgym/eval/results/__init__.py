"""What a result is made of: suites, rows, scores, statistics, and the file."""
