# Everything a developer does here goes through make; `make` lists it.

GO      ?= go
# Results of the compiler do not depend on the directory: the build cache serves each checkout.
export GOFLAGS := $(strip $(filter-out -trimpath,$(GOFLAGS)) -trimpath)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || git describe --always --dirty 2>/dev/null | sed 's/^/0.1.0+/')

# Options of single targets.
ARGS      ?=
PKGS      ?= ./...
TESTFLAGS ?=
TIMEOUT   ?= 15m

# A complete run of the benchmarks rewrites the report; a partial run only prints.
BENCHDOC = $(or $(DOC),$(if $(CELLS)$(filter 1,$(QUICK)),,docs/explanation/benchmarks.md))

GOLANGCI_VERSION := v2.15.0
GOLANGCI         := .tools/bin/golangci-lint-$(GOLANGCI_VERSION)

GOVULNCHECK_VERSION := v1.9.0
CYCLONEDX_VERSION   := v1.10.0
CYCLONEDX           := .tools/bin/cyclonedx-gomod-$(CYCLONEDX_VERSION)
GORELEASER_VERSION  := v2.16.0
GORELEASER          := .tools/bin/goreleaser-$(GORELEASER_VERSION)
ACTIONLINT_VERSION  := v1.7.12

.DEFAULT_GOAL := help
.PHONY: help build run demo test faults reference clients tasks scenarios bench scale claims lint vuln sbom generate fmt postgres chromium browser clean release release-check snapshot actionlint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## build bin/engine
	@$(GO) build -buildvcs=false -ldflags '$(if $(VERSION),-X main.version=$(VERSION)) $(if $(COMMIT),-X main.commit=$(COMMIT))' -o bin/engine ./cmd/engine

run: build $(if $(TIDEMARK_POSTGRES)$(findstring --postgres,$(ARGS)),,postgres) ## build and serve; flags in ARGS='--data DIR …'
	@exec bin/engine serve $(ARGS)

demo: build postgres ## build and show the engine at work
	@exec bin/engine demo $(ARGS)

test: postgres chromium ## run all tests; RACE=1, PKGS=./domain/…, TESTFLAGS='-run Name -v'
	$(GO) test $(if $(filter 1,$(RACE)),-race) -timeout $(TIMEOUT) $(TESTFLAGS) $(PKGS)
	$(if $(filter ./...,$(PKGS)),@cd deploy/test && $(GO) test -timeout $(TIMEOUT) $(TESTFLAGS) ./...)

browser: postgres chromium ## run the tests of the console in a browser at full length; screenshots in docs/images
	TIDEMARK_TEST_LONG=1 $(GO) test -count=1 -timeout 1h -v $(TESTFLAGS) ./test/browser

bench: postgres ## measure against raw clients of the same servers; QUICK=1, CELLS=regexp, DOC=file
	@$(GO) run ./test/bench $(if $(filter 1,$(QUICK)),-quick) $(if $(CELLS),-cells '$(CELLS)') $(if $(BENCHDOC),-doc $(BENCHDOC)) $(ARGS)

faults: postgres ## run the fault tests at full length; QUICK=1 for the length of make test
	TIDEMARK_TEST_LONG=$(if $(filter 1,$(QUICK)),0,1) $(GO) test -count=1 -timeout 1h $(TESTFLAGS) ./test/faults ./test/feeds

reference: ## write docs/reference, the JSON Schemas and the types of clients/typescript from the code
	$(GO) test ./cmd/engine -run TestReference -count=1 -update
	@cd clients/typescript && npm install --no-audit --no-fund --no-package-lock --no-workspaces --silent && npm run types --no-workspaces

clients: ## build the packages for Node in clients/
	@cd clients && npm install --no-audit --no-fund --no-package-lock && npm run build

tasks: postgres ## run 10,000 tasks through eight workers in Go and Node that are killed and frozen
	TIDEMARK_TEST_LONG=1 $(GO) test -count=1 -timeout 1h -v -run TestTaskWorkers $(TESTFLAGS) ./test/scenarios

scenarios: postgres ## run all scenarios at full length: catch-up, revert, reminders over a change of clocks, workers, LangGraph's own suite
	TIDEMARK_TEST_LONG=1 $(GO) test -count=1 -timeout 2h -p 1 -parallel 2 $(TESTFLAGS) ./test/scenarios ./test/archive ./test/clients

scale: postgres ## rebuild a million events over 50,000 aggregates under load (EVENTS=, AGGREGATES=)
	SCALE_EVENTS=$(or $(EVENTS),1000000) SCALE_AGGREGATES=$(or $(AGGREGATES),50000) \
		$(GO) test ./test/scale -run TestRebuildUnderLoad -v -count=1 -timeout 2h

claims: postgres ## claim 10,000 tasks among a million that have ended (TASKS=, WAITING=)
	SCALE_TASKS=$(or $(TASKS),1000000) SCALE_WAITING=$(or $(WAITING),10000) SCALE_POSTGRES=off \
		$(GO) test ./test/scale -run TestTasksAmongFinished -v -count=1 -timeout 2h

lint: $(GOLANGCI) ## gofmt, go vet and the linters of .golangci.yml
	$(GO) vet ./...
	$(GOLANGCI) run --allow-parallel-runners ./...

vuln: ## look for known vulnerabilities in what the program calls (asks vuln.go.dev)
	@$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...

sbom: ## write bin/engine.cdx.json, the modules of the program as CycloneDX
	@mkdir -p bin
	@GOFLAGS=-mod=mod $(GO) run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION) app -json -output bin/engine.cdx.json -main cmd/engine .

snapshot: $(GORELEASER) $(CYCLONEDX) ## build the archives and packages of a release into dist, without publishing
	@CYCLONEDX=$(CURDIR)/$(CYCLONEDX) $(GORELEASER) release --snapshot --clean

release-check: $(GORELEASER) $(CYCLONEDX) ## try a release: two equal builds, go install, the life of the Debian package (as root); QUICK=1
	@GORELEASER=$(CURDIR)/$(GORELEASER) CYCLONEDX=$(CURDIR)/$(CYCLONEDX) QUICK=$(QUICK) scripts/release-check.sh

release: $(GORELEASER) $(CYCLONEDX) ## publish the tag that is checked out as the draft of a release (GITHUB_TOKEN)
	@CYCLONEDX=$(CURDIR)/$(CYCLONEDX) $(GORELEASER) release --clean

actionlint: ## check the workflows in .github
	@GOFLAGS=-mod=mod $(GO) run github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)

generate: ## make the Go code of the console's templates
	@$(GO) tool templ generate -path ./cmd/engine/internal/console

fmt: ## format all Go code
	@$(GO) fmt ./...

postgres: ## make sure that PostgreSQL binaries exist (no server is started)
	@scripts/postgres.sh

chromium: ## make sure that a Chromium exists for the tests of the console
	@scripts/chromium.sh

clean: ## remove bin and .tools; data is never touched
	rm -rf bin .tools

$(GOLANGCI):
	@echo "lint: building golangci-lint $(GOLANGCI_VERSION) into .tools/bin"
	@GOFLAGS= GOBIN=$(CURDIR)/.tools/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv .tools/bin/golangci-lint $@

$(GORELEASER):
	@echo "release: building goreleaser $(GORELEASER_VERSION) into .tools/bin"
	@GOFLAGS= GOBIN=$(CURDIR)/.tools/bin $(GO) install github.com/goreleaser/goreleaser/v2@$(GORELEASER_VERSION)
	@mv .tools/bin/goreleaser $@

$(CYCLONEDX):
	@GOFLAGS= GOBIN=$(CURDIR)/.tools/bin $(GO) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(CYCLONEDX_VERSION)
	@mv .tools/bin/cyclonedx-gomod $@
