# Everything runs in .venv, which is made on first use. CPython 3.10 is wanted, because Paddle-Lite has wheels for it;
# without one, everything but Paddle-Lite works. `make PYTHON=/path/to/python3.10 ...` names one.

VENV := .venv
PY   := $(VENV)/bin/python

.PHONY: demo test test-slow lint docs setup clean

demo: $(VENV)/.ready
	$(VENV)/bin/segexport demo -o out/demo; status=$$?; [ $$status -le 1 ]

# Two processes share the tests; those that measure something run after them, alone.
test: lint
	$(PY) -m pytest -m "not slow and not serial" -n 2 --dist loadfile
	$(PY) -m pytest -m "serial and not slow"

test-slow: $(VENV)/.ready
	$(PY) -m pytest -m slow --timeout 3600

lint: $(VENV)/.ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

docs: $(VENV)/.ready
	$(PY) -m mkdocs build

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@sh .ci/find-python $(PYTHON) > .venv-python || { rm -f .venv-python; exit 1; }
	$$(cat .venv-python) -m venv --clear $(VENV)
	@rm -f .venv-python
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[toolchain,lite,dev]'
	@touch $@

clean:
	rm -rf $(VENV) out build dist
