# What a person or CI does with a checkout. Go and make are enough; Python is found or made by `ds-sandbox setup`.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
BINARY    := bin/ds-sandbox
CACHE     := $(CURDIR)/.cache
# Those that take longest first, so that none is left alone at the end.
PACKAGES  ?= ./sandbox/... ./backends/... ./...
FUZZTIME  ?= 20s
OUT       ?= out

# The program that runs in containers, for each architecture that an engine may have; a release has both amd64 and arm64.
AGENT_ARCHS ?= $(shell go env GOARCH)
AGENTS      := $(CACHE)/agent
EMBEDDED    := backends/docker/agentbinary

# Clients of the daemon as others have published them, at versions that are pinned where their tests are.
UI_TEST    := server/ui/uitest
UI_MODULES := $(CACHE)/clients/ui
SDK_TEST   := server/e2b/sdktest
SDKS       := $(CACHE)/clients/e2b
FRONT_TEST := server/jupyter/testdata/fronts
FRONTS     := $(CACHE)/clients/jupyter
LAB_TEST   := server/jupyter/testdata/lab
LAB        := $(CACHE)/clients/lab

# Pinned tools, built into the checkout.
GOLANGCI_VERSION := v2.15.0
GOLANGCI         := $(CACHE)/tools/golangci-lint-$(GOLANGCI_VERSION)

# Servers that only the benchmark has, as peers.
PEERS := $(CACHE)/peers

# The race detector needs a C compiler; without one the tests still run.
RACE ?= $(shell command -v "$$(go env CC)" >/dev/null 2>&1 && echo -race)

# Tests have an environment of their own, so that they neither use nor change the one of the person who runs them.
TEST_ENV := DS_SANDBOX_DATA_DIR='$(CACHE)/data' DS_SANDBOX_AGENT='$(AGENTS)' DS_SANDBOX_SDKS='$(SDKS)' \
	DS_SANDBOX_FRONTS='$(FRONTS)' DS_SANDBOX_UI_MODULES='$(UI_MODULES)/node_modules' DS_SANDBOX_REQUIRE='$(or $(DS_SANDBOX_REQUIRE),python)'

# Sets $python to the tests' interpreter, and DS_SANDBOX_TEST_PYTHONS to all that kernels are tested on.
define pythons
python=$$($(TEST_ENV) $(BINARY) setup --managed --tests --quiet) || exit 1; \
if [ -z "$${DS_SANDBOX_TEST_PYTHONS:-}" ]; then \
	DS_SANDBOX_TEST_PYTHONS=$$python; \
	if [ "$$python" != /usr/bin/python3 ] && /usr/bin/python3 -I -c 'import ipykernel' 2>/dev/null; then \
		DS_SANDBOX_TEST_PYTHONS=$$python:/usr/bin/python3; \
	fi; \
fi; \
export DS_SANDBOX_TEST_PYTHONS; echo "testing on $$DS_SANDBOX_TEST_PYTHONS"
endef

.DEFAULT_GOAL := help
.PHONY: help run test test-all test-clients packages check race fuzz integration cover lint fmt bench setup test-setup ui ui-modules sdks fronts lab \
	build agent image clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: agent ## the binary, bin/ds-sandbox
	CGO_ENABLED=0 go build -tags embed_agent -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o $(BINARY) ./cmd/ds-sandbox

# Its version is that of its protocol: code that did not change is the same program, and images that have it stay good.
agent:
	@mkdir -p '$(AGENTS)'
	@for arch in $(AGENT_ARCHS); do \
		name=$(AGENTS)/ds-sandbox-agent-linux-$$arch packed=$(EMBEDDED)/linux-$$arch.gz; \
		CGO_ENABLED=0 GOOS=linux GOARCH=$$arch go build -buildvcs=false -trimpath -ldflags '-s -w' -o $$name.new ./cmd/ds-sandbox-agent || exit 1; \
		if cmp -s $$name.new $$name && [ -s $$packed ]; then rm $$name.new; \
		else mv $$name.new $$name && gzip -9nc $$name >$$packed.new && mv $$packed.new $$packed || exit 1; fi; \
	done

image: build ## the image of sandboxes in containers, on the engine that docker uses
	$(BINARY) image build

setup: build ## find or make the Python that sandboxes run on
	$(BINARY) setup

run: setup ## a real analysis in a sandbox: live output, a table, and a chart saved in out/
	@mkdir -p '$(OUT)'
	go run -buildvcs=false ./examples/analysis '$(OUT)'

test-setup: build
	$(TEST_ENV) $(BINARY) setup --managed --tests

test-clients: ## the published clients that the daemon is tested with; without Node.js 20 their tests are skipped
	@if npm --version >/dev/null 2>&1 && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then \
		$(MAKE) --no-print-directory ui-modules sdks fronts; \
	else echo "there is no Node.js 20: tests with clients in JavaScript are skipped"; fi

# npm_ci FROM,TO installs what a lock file names, and python_ci FROM,TO what a list of requirements does, in a virtual environment.
npm_ci = mkdir -p '$(2)' && cp $(1)/package.json $(1)/package-lock.json '$(2)' && \
	npm ci --prefix '$(2)' --ignore-scripts --no-audit --no-fund --loglevel=error
python_ci = $(pythons) >/dev/null; "$$python" -m venv --clear '$(2)/venv' && \
	'$(2)/venv/bin/python' -m pip install -q --disable-pip-version-check -r $(1)/requirements.txt

ui-modules: $(UI_MODULES)/installed
sdks: $(SDKS)/installed
fronts: $(FRONTS)/installed
lab: $(LAB)/installed

$(UI_MODULES)/installed: $(UI_TEST)/package-lock.json
	@$(call npm_ci,$(UI_TEST),$(UI_MODULES))
	@touch '$@'

$(SDKS)/installed: $(SDK_TEST)/package-lock.json $(SDK_TEST)/requirements.txt | test-setup
	@$(call npm_ci,$(SDK_TEST),$(SDKS))
	@$(call python_ci,$(SDK_TEST),$(SDKS))
	@touch '$@'

$(FRONTS)/installed: $(FRONT_TEST)/package-lock.json $(FRONT_TEST)/requirements.txt | test-setup
	@$(call npm_ci,$(FRONT_TEST),$(FRONTS)/node)
	@$(call python_ci,$(FRONT_TEST),$(FRONTS))
	@touch '$@'

$(LAB)/installed: $(LAB_TEST)/requirements.txt | test-setup
	@$(call python_ci,$(LAB_TEST),$(LAB))
	@touch '$@'

ui: ui-modules ## the page's client, from the TypeScript in examples/bridge-client
	node '$(UI_MODULES)/node_modules/typescript/bin/tsc' -p $(UI_TEST)/tsconfig.json --outDir '$(CACHE)/node/out'
	cp '$(CACHE)/node/out/client.js' server/ui/page/client.js

test: test-setup test-clients ## every test, on each Python there is
	@$(pythons); failed=0; \
	$(TEST_ENV) "$$python" -B -m pytest -q -p no:cacheprovider agent/dskernel/tests >'$(CACHE)/pytest.log' 2>&1 & kernels=$$!; \
	$(TEST_ENV) go test $(RACE) -timeout 40m $(PACKAGES) || failed=1; \
	wait $$kernels || failed=1; cat '$(CACHE)/pytest.log'; \
	exit $$failed

test-all: build ## what takes hours besides: see CONTRIBUTING.md; STAGES="debian soak" for some of it
	@.ci/test-all $(STAGES)

# Tests of PACKAGES alone, with ARGS of go test.
packages: test-setup
	@$(pythons); $(TEST_ENV) DS_SANDBOX_TEST_IMAGE='$(DS_SANDBOX_TEST_IMAGE)' go test $(RACE) $(ARGS) $(PACKAGES)

check: lint test ## what CI runs

race: test-setup ## every Go test five times over, for what happens rarely
	@$(pythons); $(TEST_ENV) go test -race -count=5 -timeout 60m $(PACKAGES)

integration: test-setup ## only the packages that start real kernels, never from the cache
	@$(pythons); $(TEST_ENV) go test $(RACE) -count=1 -timeout 20m ./agent/... ./backends/... ./sandbox/... ./cmd/... ./examples/...

fuzz: ## each fuzz test for FUZZTIME (20s)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | while IFS=: read -r file func; do \
		echo "== $${file%/*} $${func#func }"; \
		go test -run '^$$' -fuzz "^$${func#func }\$$" -fuzztime $(FUZZTIME) "$${file%/*}" </dev/null || exit 1; \
	done

cover: test-setup ## coverage over all packages, as .cache/cover.html
	@$(pythons); \
	$(TEST_ENV) go test -timeout 20m -coverpkg=./... -coverprofile='$(CACHE)/cover.out' $(PACKAGES) && \
	go tool cover -html='$(CACHE)/cover.out' -o '$(CACHE)/cover.html' && \
	go tool cover -func='$(CACHE)/cover.out' | tail -1

lint: test-setup $(GOLANGCI) ## Go and Python linters, formatting included
	'$(GOLANGCI)' run
	@$(pythons) >/dev/null; "$$python" -m ruff check . && "$$python" -m ruff format --check .

fmt: test-setup $(GOLANGCI) ## format Go and Python
	'$(GOLANGCI)' fmt
	@$(pythons) >/dev/null; "$$python" -m ruff check --fix . ; "$$python" -m ruff format .

bench: test-setup ## measure, beside jupyter_client, nbclient, jupyter_server and docker run, and draw the README's chart
	@$(pythons) >/dev/null; \
	"$$python" -c 'import os, sys; sys.exit(not os.path.exists("$(PEERS)/jupyter_server"))' || \
		"$$python" -m pip install -q --disable-pip-version-check --target '$(PEERS)' -r bench/requirements.txt || exit 1; \
	DS_SANDBOX_PYTHON="$$python" DS_SANDBOX_AGENT='$(AGENTS)' DS_SANDBOX_BENCH_JUPYTER_SERVER='$(PEERS)' go run -buildvcs=false ./bench -results bench/results.json && \
	"$$python" bench/chart.py bench/results.json bench/results.svg

clean: ## remove what was built, and the tests' environment
	rm -rf bin out .cache $(EMBEDDED)/linux-*.gz*

$(GOLANGCI):
	@mkdir -p '$(@D)'
	GOBIN='$(@D)' go install -trimpath github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv '$(@D)/golangci-lint' '$@'
