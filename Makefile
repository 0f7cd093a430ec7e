.PHONY: check test lint format

check: test lint  ## what CI runs

test:
	pip install -e ".[dev]" && pytest

lint:
	ruff check .
	ruff format --check .

format:
	ruff check --fix .
	ruff format .
