# Everything happens in scripts/; this file only names it. Settings (MILLRACE_HOME, CARGO_TARGET_DIR, PG_CONFIG …)
# are explained in scripts/env.sh.
PG_CONFIG ?= /usr/lib/postgresql/15/bin/pg_config
export PG_CONFIG

.PHONY: help demo test chaos soak fuzz lint install cluster stop psql bench bench-peers docs package dashboard test-pg17 test-newcomer
help:
	@echo 'make demo      a minute of simulated transactions through the whole flow (DEMO_SECONDS=60, LAKE=azurite)'
	@echo 'make dashboard the demo with a page of live charts on http://127.0.0.1:8642/'
	@echo 'make test      lints, unit tests, release build, end-to-end tests'
	@echo 'make chaos     kills, faults of the network, full disks and more for CHAOS_SECONDS=600, and nothing may be lost'
	@echo 'make soak      chunk after chunk for SOAK_SECONDS=3600: memory, files and connections of the workers stay as they are'
	@echo 'make test-pg17 the end-to-end tests on Postgres 17, in a Debian trixie of its own (needs root)'
	@echo 'make test-newcomer what README and the quickstart tell somebody new, done on a clean Debian 12 (needs root)'
	@echo 'make fuzz      hostile bytes for all that reads foreign ones (FUZZ_SECONDS=60 a target)'
	@echo 'make install   build and install the extension into the Postgres of PG_CONFIG'
	@echo 'make cluster   start or find the private server; its URI is the last line'
	@echo 'make stop      stop the private server'
	@echo 'make psql      a psql session on the private server'
	@echo 'make lint      format, clippy, layer rules'
	@echo 'make package   a Debian package of what is installed'
	@echo 'make docs      renew what is generated in docs/, check the links, make the book'
	@echo 'make bench     loads, latency and idle cost, each beside a baseline'
	@echo 'make bench-peers the same beside Spark and deltalake with ADBC (needs Java)'

demo: install
	@scripts/demo.sh

dashboard: install
	@scripts/dashboard.sh

test:
	@scripts/test.sh

chaos: install
	@scripts/chaos.sh

soak: install
	@scripts/soak.sh

test-pg17:
	@scripts/test_pg17.sh

test-newcomer:
	@scripts/test_newcomer.sh

lint:
	@scripts/setup.sh build
	@scripts/lint.sh

install:
	@scripts/setup.sh build
	@scripts/install.sh

cluster: install
	@scripts/cluster.sh start

stop:
	@scripts/cluster.sh stop

psql: install
	@scripts/cluster.sh psql

bench: install
	@scripts/bench.sh

bench-peers: install
	@scripts/bench_peers.sh

docs: install
	@scripts/docs.sh

package: install
	@scripts/package.sh

fuzz:
	@scripts/setup.sh build
	@scripts/fuzz.sh
