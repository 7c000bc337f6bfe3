# Everything runs in .venv, which is made on first use from CPython 3.10 to 3.14; `make PYTHON=/path/to/python ...` names
# one. 3.10 can install all toolchains; on another Python, a toolchain without wheels gets a separate environment.

VENV := .venv
PY   := $(VENV)/bin/python

.PHONY: demo test test-slow lint docs setup locks clean

demo: $(VENV)/.ready
	$(VENV)/bin/segexport demo -o out/demo

# Two processes share the tests; those that measure something run after them, alone.
test: lint
	$(PY) -m pytest -m "not slow and not serial" -n 2 --dist loadfile
	$(PY) -m pytest -m "serial and not slow"

test-slow: $(VENV)/.ready
	$(PY) -m pytest -m slow --timeout 3600

lint: $(VENV)/.ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/basedpyright

docs: $(VENV)/.ready
	$(PY) -m mkdocs build

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	@sh .ci/find-python $(PYTHON) > .venv-python || { rm -f .venv-python; exit 1; }
	$$(cat .venv-python) -m venv --clear $(VENV)
	@rm -f .venv-python
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[toolchain,lite,dev]'
	$(VENV)/bin/segexport toolchain install
	@touch $@

# The requirements of each toolchain, pinned and hashed, from what its .in file asks for. Needs uv.
locks:
	cd src/segexport/toolchain/locks && for asked in *.in; do \
	    own="$${asked%.in}.override"; \
	    uv pip compile --quiet --universal --python-version 3.10 --only-binary :all: --generate-hashes \
	        $$([ -f "$$own" ] && echo --override "$$own") --no-header --no-emit-index-url --upgrade "$$asked" --output-file "$${asked%.in}.txt" || exit 1; done

clean:
	rm -rf $(VENV) out build dist
