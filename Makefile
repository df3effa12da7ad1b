# spatialdb: `make run` launches the earth world, `make test` passes every test. Both install what is missing.

SHELL := bash
export CARGO_TARGET_DIR ?= $(CURDIR)/target
SPATIALDB := $(CARGO_TARGET_DIR)/release/spatialdb
# More arguments for `make run` and `make bench`, e.g. make run ARGS="--listen 127.0.0.1:7500"
ARGS ?=

.PHONY: help run test bench earth fmt lint setup build

help: ## Show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

run: setup ## Launch the earth world with its workers; ctrl-c stops it
	cargo build --release --locked -p spatialdb -p spatialdb-flight
	@echo
	@echo "Launching the earth world. Once it says that it is ready, look at it from another terminal:"
	@echo "  $(SPATIALDB) workers"
	@echo "  $(SPATIALDB) query --sphere 950000,5267000,0,50000 --has earth.City"
	@echo "  workers/python/examples/ has workers to read and change"
	@echo
	@exec $(SPATIALDB) launch snapshots/earth.snapshot --config snapshots/earth/world.toml $(ARGS)

test: setup ## Pass every test: Rust, Python, simulator, whole processes
	@# Programs first: tests start workers by their path.
	cargo build --release --locked --workspace
	cargo test --release --locked --workspace --no-fail-fast

bench: ARGS = all
bench: build ## Measure every scenario, or e.g. make bench ARGS="ingest --json"
	$(SPATIALDB) bench $(ARGS)

earth: ## Build snapshots/earth.snapshot anew from its npm packages
	deploy/setup.sh --node
	cargo build --release --locked -p spatialdb
	cd snapshots/earth && npm ci --no-audit --no-fund && npm run --silent generate
	$(SPATIALDB) snapshot convert snapshots/earth/build/earth.jsonl snapshots/earth.snapshot \
		--schema snapshots/earth/schema --level 19
	$(SPATIALDB) snapshot verify snapshots/earth.snapshot

fmt: ## Format the Rust code
	cargo fmt --all

lint: ## Check format and lints
	cargo fmt --all -- --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

build: setup
	cargo build --release --locked --workspace

setup:
	@deploy/setup.sh
