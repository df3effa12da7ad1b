# spatialdb: `make run` launches the earth world, `make test` passes every test. Both install what is missing.

SHELL := bash
export CARGO_TARGET_DIR ?= $(CURDIR)/target
SPATIALDB := $(CARGO_TARGET_DIR)/release/spatialdb
# More arguments for `make run` and `make bench`, e.g. make run ARGS="--listen 127.0.0.1:7500"
ARGS ?=
# Where `make install` puts things, e.g. make install PREFIX=/usr/local
PREFIX ?= $(HOME)/.local
BASH_COMPLETION := $(PREFIX)/share/bash-completion/completions/spatialdb
ZSH_COMPLETION := $(PREFIX)/share/zsh/site-functions/_spatialdb
FISH_COMPLETION := $(PREFIX)/share/fish/vendor_completions.d/spatialdb.fish

.PHONY: help run test torture bench earth fmt lint setup build install uninstall

help: ## Show this
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

run: setup ## Launch the earth world with its workers; ctrl-c stops it
	@# All of it: what `make test` builds too, so that RocksDB is compiled once.
	cargo build --release --locked --workspace
	@echo
	@echo "Launching the earth world. Once it says that it is ready, look at it from another terminal:"
	@echo "  $(SPATIALDB) workers"
	@echo "  $(SPATIALDB) query --sphere 950000,5267000,0,50000 --has earth.City"
	@echo "  $(SPATIALDB) flags set flight aircraft_multiplier=4    # and watch: $(SPATIALDB) regions --watch"
	@echo "  workers/python/examples/ has workers to read and change"
	@echo
	@exec $(SPATIALDB) launch snapshots/earth.snapshot --config snapshots/earth/world.toml $(ARGS)

test: ## Pass every test: simulator, whole processes, every SDK, the page
	@deploy/setup.sh --test
	cd workers/typescript && npm run --silent build
	@# Programs first: tests start workers by their path.
	cargo build --release --locked --workspace
	cargo build --release --locked -p spatialdb-sdk --example conformance
	cargo test --release --locked --workspace --no-fail-fast
	cd workers/typescript && npm run --silent test
	cd spatialdb/web && npm run --silent check
	@if [ -n "$$CHROMIUM" ] || command -v chromium || command -v chromium-browser || command -v google-chrome; then \
		cd spatialdb/web && SPATIALDB_BIN=$(CARGO_TARGET_DIR)/release npm run --silent test; \
	else echo "The page is not tested: there is no chromium, and it could not be installed."; fi

torture: build ## Kill a world in a data directory hundreds of times, and look for what is lost; KILLS=1000 for more
	SPATIALDB_TORTURE_KILLS=$(or $(KILLS),300) cargo test --release --locked -p spatialdb-tests --test suite torture:: -- --nocapture

bench: ARGS = all
bench: build ## Measure all scenarios that take seconds, or e.g. make bench ARGS="ingest --json"
	$(SPATIALDB) bench $(ARGS)

earth: ## Build snapshots/earth.snapshot anew from its npm packages
	deploy/setup.sh --node
	cargo build --release --locked --workspace
	cd snapshots/earth && npm ci --no-audit --no-fund && npm run --silent generate
	$(SPATIALDB) snapshot convert snapshots/earth/build/earth.jsonl snapshots/earth.snapshot \
		--schema snapshots/earth/schema --level 19
	$(SPATIALDB) snapshot verify snapshots/earth.snapshot

install: setup ## Put spatialdb and its completions on PATH: PREFIX, default ~/.local
	cargo build --release --locked --workspace
	mkdir -p $(PREFIX)/bin $(dir $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION))
	install -m755 $(SPATIALDB) $(PREFIX)/bin/spatialdb
	@set -e; for shell in bash zsh fish; do \
		$(SPATIALDB) completions $$shell > $(CARGO_TARGET_DIR)/completions.$$shell; done
	install -m644 $(CARGO_TARGET_DIR)/completions.bash $(BASH_COMPLETION)
	install -m644 $(CARGO_TARGET_DIR)/completions.zsh $(ZSH_COMPLETION)
	install -m644 $(CARGO_TARGET_DIR)/completions.fish $(FISH_COMPLETION)
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) echo "Try it: spatialdb --help" ;; \
		*) echo "$(PREFIX)/bin is not on PATH: export PATH=\"$(PREFIX)/bin:\$$PATH\"" ;; esac

uninstall: ## Remove what `make install` put there
	rm -f $(PREFIX)/bin/spatialdb $(BASH_COMPLETION) $(ZSH_COMPLETION) $(FISH_COMPLETION)

fmt: ## Format the Rust code
	cargo fmt --all

lint: ## Check format and lints
	cargo fmt --all -- --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings

build: setup
	cargo build --release --locked --workspace

setup:
	@deploy/setup.sh
