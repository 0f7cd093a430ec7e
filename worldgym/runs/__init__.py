"""The runtime of every long run: schedule, signals, ranks, report, card."""
