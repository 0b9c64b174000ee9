# The commands of the project. `make` lists them.

TARGET := $(or $(CARGO_TARGET_DIR),target)
COUNTERFOIL := $(TARGET)/debug/counterfoil
# what tools/setup built, should the machine not have it
export PATH := $(PATH):$(abspath $(TARGET))/tools/bin
# queries are checked against .sqlx, whatever database the environment names
export SQLX_OFFLINE := true

.PHONY: help demo dev test storm drill drill-shop tamper fuzz check bench bench-intake setup sqlx openapi vectors audit-deps
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: ## a day of sales, from the till to receipts that are checked against a chain
	@tools/setup run
	cargo run -- demo

dev: ## Postgres, Redis, a chain and the engine, for working against; ends with Ctrl-C
	@tools/setup run
	cargo run -- dev

test: ## every test, against real services of its own
	@tools/setup test
	cargo nextest run --workspace --no-run
	$(COUNTERFOIL) with-services -- cargo nextest run --workspace
	@if grep -rqE '^ *//[/!] ```' src proofs/src; then cargo test --doc --workspace; fi
	npm --prefix contracts test
	npm --prefix contracts run vectors

# what `make test` does in small; COUNTERFOIL_STORM_SEED repeats one
storm: export STORM_ROUNDS ?= 5
storm: export STORM_CLIENTS ?= 64
storm: export STORM_SALES ?= 1000
storm: export STORM_GUSTS ?= 2
storm: export STORM_SECONDS ?= 180
storm: export STORM_PROCESSES ?= 3
storm: export STORM_SCHEDULES ?= 100000
storm: ## exactly once while everything breaks, deadlocks, interleavings: in large; STORM_ROUNDS and others
	@tools/setup test
	cargo nextest run --workspace --no-run
	$(COUNTERFOIL) with-services -- cargo nextest run --workspace --no-capture -E 'test(/^storms::|interleavings::/)'

# a seed that fails prints how it is run again
drill: export DRILL_SEEDS = $(or $(SEEDS),10)
drill: export DRILL_FIRST = $(or $(FIRST),1)
drill: export DRILL_JOBS = $(or $(JOBS),2)
drill: export DRILL_FREEZE = $(or $(FREEZE),18)
drill: ## everything that anchoring stands on breaks, then an audit: SEEDS=n from FIRST=k, JOBS=j at a time, FREEZE=s
	@tools/setup test
	cargo nextest run --workspace --no-run
	cargo nextest run --workspace --no-capture -E 'test(/^drill::/)'

drill-shop: export SHOP_DRILL_SEEDS = $(or $(SEEDS),10)
drill-shop: export SHOP_DRILL_FIRST = $(or $(FIRST),1)
drill-shop: export SHOP_DRILL_SECONDS = $(or $(SECONDS),120)
drill-shop: ## customers shop while everything breaks, then the books: SEEDS=n from FIRST=k, SECONDS=s each
	@tools/setup test
	cargo nextest run --workspace --no-run
	cargo nextest run --workspace --no-capture -E 'test(/^shop::drill::/)'

tamper: export COUNTERFOIL_TAMPER_ROUNDS = $(or $(ROUNDS),3000)
tamper: export COUNTERFOIL_TAMPER_SEED = $(or $(FIRST),0)
tamper: ## stored rows and files are changed one at a time, and the audit has to name each: ROUNDS=n from FIRST=k
	@tools/setup test
	cargo nextest run --workspace --no-run
	$(COUNTERFOIL) with-services -- cargo nextest run --workspace --no-capture -E 'test(/^audit::tamper::/)'

# a failure prints the request, and the seed that finds it again
fuzz: export CASES := $(or $(CASES),25)
fuzz: ## every route of the API's description is asked what fits it and what does not: CASES=n a route, SEED=k, ROUTES=regex, CALLERS=…
	@tools/setup run
	cargo build
	tools/fuzz

check: ## format, lints, licences, and that everything committed is up to date
	@tools/setup check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny --locked check --hide-inclusion-graph bans licenses sources
	tools/sqlx-prepare --check
	@cargo run --quiet -- openapi | diff -u docs/openapi.json - \
		|| { echo "docs/openapi.json is not up to date: make openapi, and commit it"; exit 1; }
	npm --prefix contracts run check

bench: ## what things cost, then the load test of about a quarter of an hour
	cargo bench -p counterfoil-proofs
	@$(MAKE) --no-print-directory bench-intake

bench-intake: ## the load test alone; BENCH='--quick' for a smoke run, BENCH='--help' for its parts
	@tools/setup run
	cargo bench --bench intake -- $(BENCH)

setup: ## installs what this machine lacks for all of the above
	@tools/setup run
	@tools/setup test
	@tools/setup check

sqlx: ## .sqlx, the database's answers about our queries, anew
	tools/sqlx-prepare

openapi: ## docs/openapi.json anew
	cargo run --quiet -- openapi > docs/openapi.json.new
	mv docs/openapi.json.new docs/openapi.json

vectors: ## proofs/vectors, the examples that every implementation is checked by, anew
	cargo run -p counterfoil-proofs --example vectors

audit-deps: ## known vulnerabilities of the dependencies; needs a network
	@tools/setup check
	cargo deny --locked check advisories
