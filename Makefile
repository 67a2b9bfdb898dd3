# The one door to Conclave's build. `make` alone lists what there is.
# CARGO_TARGET_DIR is respected; every target that compiles runs `setup` first, which is quick once it is done.

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CONCLAVE   := $(TARGET_DIR)/release/conclave
VENV       := $(TARGET_DIR)/venv
# Servers that are built to be broken stay apart from those that people use.
UNFIT      := $(TARGET_DIR)/unfit
# Seconds for each fuzz target, and which: all if none is named.
FUZZ_SECONDS ?= 30
FUZZ_TARGETS ?=
# How long chaos may go on, from which seed, and with how many nodes (3 and 5 in turns if that is not said).
HOURS ?= 0.33
SEED  ?= 1
NODES ?=
# How many simulated clusters, and the first one's seed (SEED).
SEEDS ?= 1000

.PHONY: help setup build demo test verify fix bench fuzz chaos chaos-mutants chaos-crashes sim audit

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

setup: ## install what the build and the tests need, if it is missing
	@deploy/setup "$(VENV)"

build: setup ## build the program: target/release/conclave
	cargo build --locked --release -p conclave-node --bin conclave

demo: build ## three nodes, a killed leader, nothing lost: a minute's tour
	@deploy/demo "$(CONCLAVE)" "$(VENV)"

test: verify ## verify, then run every test
	cargo test --locked --workspace

verify: setup ## format, lints, docs and house rules; changes nothing
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo test --locked --workspace --test tidy

fix: setup ## format and apply the lints' own suggestions
	cargo clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all

bench: build ## measure Conclave beside OpenBao and the machine's ceilings: one table
	cargo build --locked --release -p conclave-bench
	@$(TARGET_DIR)/release/conclave-bench --conclave "$(CONCLAVE)" --venv "$(VENV)" $(BENCH_ARGS)

fuzz: setup ## FUZZ_SECONDS (30) of libFuzzer on every parser that strangers or peers reach
	@chaos-tests/fuzz/run "$(TARGET_DIR)/fuzz" $(FUZZ_SECONDS) $(FUZZ_TARGETS)

chaos: build ## HOURS (0.33) of real clusters, broken in every way while clients work; needs root
	cargo build --locked --release -p conclave-chaos
	@$(TARGET_DIR)/release/conclave-chaos --conclave "$(CONCLAVE)" --out "$(TARGET_DIR)/chaos" --hours $(HOURS) \
		--seed $(SEED) $(if $(NODES),--nodes $(NODES)) $(CHAOS_ARGS)

chaos-mutants: setup ## plant one bug after another: a test, chaos or simulation must notice each; needs root
	cargo test --locked --no-run --message-format=json --target-dir "$(UNFIT)" \
		-p conclave-storage -p conclave-core -p conclave-node --lib --test cluster \
		--test durability --test points --test reader --test snapshots \
		--features conclave-node/planted-bugs,conclave-node/fail-points > "$(TARGET_DIR)/unfit-tests.jsonl"
	cargo build --locked --target-dir "$(UNFIT)" -p conclave-sim \
		--features conclave-node/planted-bugs,conclave-node/fail-points
	cargo build --locked --bin conclave-chaos --bin conclave-mutants
	@$(TARGET_DIR)/debug/conclave-mutants --conclave "$(UNFIT)/debug/conclave" --out "$(TARGET_DIR)/mutants" \
		--tests "$(TARGET_DIR)/unfit-tests.jsonl" --chaos "$(TARGET_DIR)/debug/conclave-chaos" \
		--sim "$(UNFIT)/debug/conclave-sim" --seed $(SEED) $(MUTANTS_ARGS)

chaos-crashes: setup ## HOURS (0.33) of nodes that end or lose their power at every durable step; needs root
	cargo build --locked --target-dir "$(UNFIT)" --bin conclave --features conclave-node/fail-points
	cargo build --locked --bin conclave-chaos
	@$(TARGET_DIR)/debug/conclave-chaos --conclave "$(UNFIT)/debug/conclave" --out "$(TARGET_DIR)/crashes" \
		--crash-points all --nodes $(or $(NODES),3) --hours $(HOURS) --seed $(SEED) --run-seconds 900 $(CHAOS_ARGS)

sim: setup ## SEEDS (1000) clusters in simulated time, from SEED on; a seed that fails is repeated by its number
	cargo build --locked --release -p conclave-sim
	@$(TARGET_DIR)/release/conclave-sim many --seeds $(SEEDS) --from $(SEED) --out "$(TARGET_DIR)/sim.json" $(SIM_ARGS)

audit: setup ## licences, sources, bans and, where its database can be reached, advisories
	@deploy/audit
