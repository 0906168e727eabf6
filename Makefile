# What one does with this repository. `make help` lists it.

# rustup puts cargo where root's PATH may not look.
CARGO := $(or $(shell command -v cargo),$(wildcard $(HOME)/.cargo/bin/cargo),cargo)
# The demo's own lab; everything it writes lies in /var/lib/roost-lab/demo.
DEMO := target/release/gnt-lab --name demo

.DEFAULT_GOAL := help
.PHONY: help deps build guest uml demo demo-down test test-full soak fuzz bench bench-peers fmt lint clean need-cargo need-root

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install what build, lab and guest need (Debian 12, as root)
	scripts/install-deps.sh

need-cargo:
	@command -v $(CARGO) >/dev/null || { echo "cargo is missing: 'make deps' installs it"; exit 1; }

build: need-cargo ## build all programs into target/release
	$(CARGO) build --release --workspace

guest: ## build the small guest of os/tiny into /var/lib/roost/tiny
	scripts/build-tiny-guest

uml: need-root ## build the image of user-mode Linux nodes into /var/lib/roost/uml (as root)
	scripts/build-uml-node

demo: need-root ## a cluster's life on this machine, in front of you (Debian 12, as root)
	@scripts/install-deps.sh
	@$(MAKE) --no-print-directory build guest
	@$(DEMO) tour

demo-down: ## stop the demo's cluster and remove all of it
	@$(DEMO) down

# Whole clusters need root. Their files lie in memory: databases and disks are written a lot.
SCRATCH := $(if $(wildcard /dev/shm),/dev/shm,/tmp)
TEST_ENV := TMPDIR=$(SCRATCH) RUST_BACKTRACE=0

test: need-cargo need-root guest uml ## all tests but the long sweeps: 20 minutes at most (as root)
	$(CARGO) build --workspace --all-targets
	$(TEST_ENV) $(CARGO) test --workspace --lib --bins
	$(TEST_ENV) $(CARGO) test --workspace --test '*' -- --test-threads=2

test-full: test ## the long sweeps too: kills at many points, all about real guests and disks (as root)
	scripts/install-deps.sh --services
	$(TEST_ENV) $(CARGO) test --workspace -- --ignored --test-threads=1

# Which promises it checks: doc/faults.md.
MINUTES := 30

soak: need-cargo need-root ## work and faults for MINUTES=30 on five nodes, then check what was promised; SEED=n repeats (as root)
	@$(CARGO) build --workspace >&2
	@ROOST_LAB_DIR=$(SCRATCH)/roost-soak target/debug/roost-soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

fuzz: MINUTES := 10
fuzz: need-cargo ## let a fuzzer try what confd takes from the network, and what the placement tools read, for MINUTES=10 (a nightly compiler)
	scripts/fuzz $(MINUTES)

bench: need-cargo need-root ## measure: one JSON object a line on standard output (as root)
	@$(CARGO) build --release --workspace >&2
	@target/release/roost-bench

bench-peers: need-cargo need-root ## confd, mond and placement beside Debian's own ganeti: one JSON object a line; QUICK=1 for a smoke run (as root)
	@scripts/build-ganeti-peer --quiet >&2
	@$(CARGO) build --release --workspace >&2
	@target/release/roost-bench-peers $(if $(QUICK),--quick)

need-root:
	@test "$$(id -u)" = 0 || { echo "whole clusters need namespaces and bridges: run it as root"; exit 1; }

fmt: need-cargo ## format all code
	$(CARGO) fmt --all

lint: need-cargo ## what the code must satisfy before a commit
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

clean: need-cargo ## remove what was built (a running lab stays)
	$(CARGO) clean
