# Each target sets up what it needs; nothing is installed outside .venv.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
STAND_IN := stand-in/python:3.13-slim-trixie
ON_BASES = $(if $(filter local,$(BASES)),--network host --build-arg PYTHON=$(STAND_IN))
LABELS = --label org.opencontainers.image.version=$(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	$(if $(REVISION),--label org.opencontainers.image.revision=$(REVISION))
ACTIONLINT := build/bin/actionlint
REVISION = $(shell git rev-parse HEAD 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-engine test-cluster cluster check format lock bench soak image sbom

help: ## what can be made here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/ready ## play a good deployment, a stuck drain and a bad version
	@$(BIN)/python -m rehearsal --scenario good-deployment --scenario stuck-drain --scenario bad-version

test: check tests/k8s/node_modules ## everything that CI runs
	$(BIN)/pytest $(ARGS)

coverage: .venv/ready tests/k8s/node_modules ## the same tests, and which lines of hooks/ and rehearsal/ they run
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine -q && $(BIN)/coverage report

test-engine: .venv/ready ## the rehearsal, signals and limits in real containers (BASES=local where no registry can be reached)
	$(BIN)/pytest tests/engine $(ARGS)

test-cluster: .venv/ready ## the same for real: needs a kubeconfig with Argo CD (tests/cluster/README.md)
	$(BIN)/pytest -x --timeout=0 tests/cluster/syncs.py $(ARGS)

cluster: ## a kind cluster with Argo CD, for test-cluster
	tests/cluster/kind.sh

soak: .venv/ready ## the watchdog for an hour: memory, file descriptors, CPU
	$(BIN)/python benchmarks/watchdog.py --seconds 3600

check: .venv/ready ## ruff, mypy, import-linter, hadolint, zizmor, actionlint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile images/*/Dockerfile
	$(BIN)/zizmor --offline --quiet --no-progress .github
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory $(ACTIONLINT) && $(ACTIONLINT) -shellcheck=; else \
		echo "actionlint is not run: it is made with go, see https://go.dev/doc/install"; test -z "$$CI"; fi

format: .venv/ready ## let ruff mend what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: .venv/ready ## against the scripts that these commands replace
	$(BIN)/python benchmarks/against_scripts.py

image: .venv/ready ## build argocd-standby-hooks and mock-oms; BASES=local where no registry can be reached
ifeq ($(BASES),local)
	docker image inspect $(STAND_IN) >/dev/null 2>&1 || images/stand-in.sh $(STAND_IN)
endif
	docker build --quiet $(ON_BASES) --target interpreter --tag argocd-standby-hooks:interpreter .
	docker build --quiet $(ON_BASES) $(LABELS) --tag argocd-standby-hooks .
	docker build --quiet $(LABELS) --tag mock-oms --file images/mock-oms/Dockerfile .

sbom: .venv/ready ## list what the lock file puts into the image, as CycloneDX: build/sbom.cdx.json
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --spec-version 1.6 \
		--output-reproducible --output-format JSON --output-file build/sbom.cdx.json requirements/run.txt

lock: .venv/ready ## resolve requirements/*.in anew; no index is named
	for set in run build dev; do $(BIN)/uv pip compile -q --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
		requirements/$$set.in -o requirements/$$set.txt; done

# The package of that name on PyPI fetches a program when it is installed; this builds it, from a checked source.
$(ACTIONLINT):
	GOBIN=$(CURDIR)/build/bin go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

# Argo CD's and Prometheus' own schemas; without npm the tests that need them say so.
tests/k8s/node_modules: tests/k8s/package-lock.json
	@! command -v npm >/dev/null || npm ci --silent --ignore-scripts --no-audit --no-fund --prefix tests/k8s
	@mkdir -p $@ && touch $@

.venv/ready: requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "venv is needed: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@
