# Everything here runs with the Node of node_modules (see package.json); the machine's own npm only installs it.
# `make help` lists the targets.

SHELL := /bin/sh
PATH := $(CURDIR)/node_modules/.bin:$(PATH):/usr/sbin:/sbin
export PATH

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup build image test test-unit test-kernel test-long test-all lint format demo demo-kubernetes demo-down bench clean

installed   := node_modules/.package-lock.json
sources     := $(shell find src -name '*.ts' ! -name '*.test.ts' 2>/dev/null)
lab_sources := $(shell find lab deploy -name '*.ts' ! -name '*.test.ts' 2>/dev/null)
bundles     := $(patsubst src/%/main.ts,dist/%.js,$(wildcard src/control/main.ts src/agent/main.ts)) \
               $(patsubst src/cli/main.ts,dist/dctl.js,$(wildcard src/cli/main.ts))
bpf_objects := $(patsubst bpf/%.bpf.c,build/bpf/%.o,$(wildcard bpf/*.bpf.c))
cni_plugin  := $(patsubst cni/%.c,build/cni/%,$(wildcard cni/carbonado-cni.c))
lab_programs := build/lab/paced-drive
# A program of musl starts in half the time: glibc asks the processor for its features, which a hypervisor answers slowly.
cni_compiler := $(or $(shell command -v musl-gcc),gcc)
multiarch   := $(shell gcc -dumpmachine 2>/dev/null)

## help: this list
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST) | awk -F': ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

## setup: install the Debian packages that are missing and fetch the kernel of the tests' guest (asks apt for nothing when all are there)
setup:
	@scripts/setup.sh
	@scripts/guest-kernel.sh

## build: bundles in dist/, eBPF objects and the CNI plugin in build/; only what changed
build: $(bundles) $(bpf_objects) $(cni_plugin) $(lab_programs)

# npm writes node_modules/.package-lock.json last, so it is older than package-lock.json only when an install is due.
# The lock is for two makes at once.
$(installed): package-lock.json
	@mkdir -p build
	@flock build/install.lock sh -c 'test $@ -nt package-lock.json || scripts/install-packages.sh'

dist/%.js: src/%/main.ts $(sources) scripts/bundle.sh $(installed)
	@scripts/bundle.sh $< $@

dist/dctl.js: src/cli/main.ts $(sources) $(lab_sources) scripts/bundle.sh $(installed)
	@scripts/bundle.sh $< $@

build/bpf/%.o: bpf/%.bpf.c $(wildcard bpf/*.h) Makefile
	@mkdir -p $(@D)
	clang -O2 -g -target bpf -mcpu=v3 -Wall -I/usr/include/$(multiarch) -c $< -o $@

build/cni/%: cni/%.c $(wildcard cni/*.h) Makefile
	@mkdir -p $(@D)
	$(cni_compiler) -O2 -Wall -Wextra -static -s $< -o $@


build/lab/%: lab/drive/%.c Makefile
	@mkdir -p $(@D)
	gcc -O2 -Wall -Wextra -static -s $< -o $@

## test: unit tests and those against the kernel, beside them those on a lab and in a virtual machine (as root)
test: setup build
	@scripts/test-lanes.sh "unit kernel" lab guest

## test-unit: only the unit tests; needs no root
test-unit: $(installed)
	@scripts/test.sh --project unit

## test-kernel: only the tests against this machine's kernel, beside them those on a lab
test-kernel: setup build
	@scripts/test-lanes.sh kernel lab

## test-long: only the long suites: storms, a million frames and requests (as root, minutes)
test-long: setup build
	@scripts/test-lanes.sh long guest-long

# What only the suites run, in the order in which they want it.
go_sets := conformance kubernetes sidecars provisioner dns e2e multus

## test-all: everything, the long suites beside the rest, and one closing line for all of it
test-all: setup build
	@scripts/test-lanes.sh --processors 4 --meanwhile "scripts/go-tools.sh $(go_sets)" "unit kernel conformance guest-long" "lab kubernetes" "guest long"

## lint: eslint (layers, floating promises), prettier, type check
lint: $(installed)
	tsc --noEmit
	eslint .
	prettier --check --log-level warn .

## format: let prettier rewrite what it would complain about
format: $(installed)
	prettier --write --log-level warn .

## demo: the lab of three nodes and a tour of the promises (as root)
demo: setup build
	@node lab/demo/main.ts

## demo-kubernetes: three real Kubernetes nodes with WordPress on the VLANs of a company (as root; builds Kubernetes the first time)
demo-kubernetes: setup build
	@node lab/demo/kubernetes.ts

## demo-down: stop the lab and remove everything of it
demo-down: $(installed)
	@bin/dctl lab down

## image: the container image of control, agent and dctl, as build/images/carbonado.tar (as root)
image: setup build
	@node deploy/image/main.ts

## bench: the benchmark table; `make bench SUITE=network`
bench: setup build
	@npm run --silent bench -- $(or $(SUITE),network)

## clean: remove what was built (node_modules stays)
clean:
	rm -rf dist build
