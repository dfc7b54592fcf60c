.DEFAULT_GOAL := help
.PHONY: help build release setup demo test matrix soak storm bench fleet lint format clean

SOURCES := Package.swift Sources Tests

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## both agents, for debugging
	swift build

release: ## both agents as they ship
	swift build -c release --static-swift-stdlib

setup: ## install what is missing on a Debian or Ubuntu machine
	@deploy/setup.sh

demo: ## everything on this machine, of real parts, until Ctrl-C
	@deploy/demo.sh

test: ## every check and every test, on real parts
	@Tests/Laboratory/test.sh

matrix: ## the tests once more, on Debian trixie's Docker Engine, etcd and HAProxy
	@Tests/Laboratory/matrix.sh

soak: ## 2 000 random changes, 60 random faults, and changes under load, with limits for a quiet machine
	SIDEKICK_REQUIRE=all SIDEKICK_QUIET=1 SIDEKICK_WALK=2000 SIDEKICK_FAULTS=60 \
		swift test --filter 'RandomWalk|DiscoverLoad|FaultWalk'

storm: ## 200 containers at random while engine and etcd are restarted
	SIDEKICK_STORM=200 SIDEKICK_REQUIRE=all swift test --filter StormTests

bench: ## one table of measured figures
	@Tests/Bench/bench.sh

fleet: ## what 10, 100 and 1 000 hosts cost etcd, with stand-ins for most of them
	@Tests/Bench/fleet.sh

lint: ## the formatter's rules
	swift format lint --strict --recursive $(SOURCES)

format: ## rewrite the sources by the formatter's rules
	swift format --in-place --recursive $(SOURCES)

clean: ## remove what was built
	swift package clean
