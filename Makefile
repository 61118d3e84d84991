# Names that existing automation calls. Each is one cargo command; `cargo xtask` lists more.

BIN ?= $(or $(CARGO_TARGET_DIR),target)/release/gait

.PHONY: build bench bench-check bench-budgets

build:
	cargo build --release --package gait-cli

# What commands take, held against perf/runtime_slo_budgets.json.
bench-budgets: build
	cargo xtask bench-budgets $(BIN) perf/command_budget_report.json

# What single functions cost: nanoseconds and allocations, five runs of each on one thread.
bench:
	cargo xtask bench-micro perf/bench_output.txt

# The same, held against perf/bench_baseline.json and perf/resource_budgets.json.
bench-check: bench
	cargo xtask bench-check perf/bench_output.txt
