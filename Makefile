# What one does with this repository. `make help` lists it.

# rustup puts cargo where root's PATH may not look.
CARGO := $(or $(shell command -v cargo),$(wildcard $(HOME)/.cargo/bin/cargo),cargo)
# The demo's own lab; everything it writes lies in /var/lib/roost-lab/demo.
DEMO := target/release/gnt-lab --name demo

.DEFAULT_GOAL := help
.PHONY: help deps build guest demo demo-down test test-full fmt lint clean need-cargo

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## install what build, lab and guest need (Debian 12, as root)
	scripts/install-deps.sh

need-cargo:
	@command -v $(CARGO) >/dev/null || { \
	  echo "cargo is missing. Get Rust with rustup (https://rustup.rs):"; \
	  echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"; \
	  exit 1; }

build: need-cargo ## build all programs into target/release
	$(CARGO) build --release --workspace

guest: ## build the small guest of os/tiny into /var/lib/roost/tiny
	scripts/build-tiny-guest

demo: ## a cluster's life on this machine, in front of you (Debian 12, as root)
	@test "$$(id -u)" = 0 || { echo "the demo makes namespaces, bridges and guests: run it as root"; exit 1; }
	@scripts/install-deps.sh
	@$(MAKE) --no-print-directory build guest
	@$(DEMO) tour

demo-down: ## stop the demo's cluster and remove all of it
	@$(DEMO) down

test: need-cargo ## tests that need neither root nor libvirt
	$(CARGO) test --workspace

test-full: need-cargo guest ## all tests, whole clusters with real guests included (as root)
	$(CARGO) build --workspace
	$(CARGO) test --workspace
	$(CARGO) test -p roost-tests -- --ignored --test-threads=1

fmt: need-cargo ## format all code
	$(CARGO) fmt --all

lint: need-cargo ## what the code must satisfy before a commit
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

clean: need-cargo ## remove what was built (a running lab stays)
	$(CARGO) clean
