# Names that existing automation calls. Each is one cargo command; `cargo xtask` lists more.

BIN ?= $(or $(CARGO_TARGET_DIR),target)/release/gait

.PHONY: build bench-budgets

build:
	cargo build --release --package gait-cli

# What commands take, held against perf/runtime_slo_budgets.json.
bench-budgets: build
	cargo xtask bench-budgets $(BIN) perf/command_budget_report.json
