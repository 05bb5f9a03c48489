PY := .venv/bin/python
check: ## style, types, recipes
	.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy
