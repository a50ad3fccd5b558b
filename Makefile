# `make help` lists the targets. Nothing has to be installed but Go, gcc, git and make: the rest is built
# from pinned Go modules into .cache, once.

SHELL := /usr/bin/env bash -euo pipefail
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

# How everything is built but the tests, which want the race detector: what one build compiles, the next one has.
static := CGO_ENABLED=0 GOFLAGS=-trimpath

# Tools are kept by a fingerprint of the modules that pin them and of Go, which a linter has to be as new as:
# a new version is built, an old one stays.
fingerprint = $(shell { go env GOVERSION; cat $(1); } | sha256sum | cut -c1-12)
TOOLS := .cache/tools/$(call fingerprint,hack/tools/go.sum hack/tools/lint/go.sum hack/tools/lint/main.go)
CONTROLLER_GEN := $(TOOLS)/controller-gen
CRD_REF_DOCS := $(TOOLS)/crd-ref-docs
KUSTOMIZE := $(TOOLS)/kustomize
LINT := $(TOOLS)/lint
GOTESTSUM := $(TOOLS)/gotestsum
HELM := .cache/tools/helm-$(call fingerprint,hack/tools/helm/go.sum)/helm
export GOLANGCI_LINT_CACHE := $(CURDIR)/.cache/golangci-lint

# What tests run of Argo CD and Flux is kept in the same way; tests find the last one that was asked for at "current".
GITOPS := .cache/gitops/$(shell { go env GOVERSION; cat hack/gitops/go.sum hack/gitops/argocd/main.go; } | sha256sum | cut -c1-12)

KUBERNETES = $(shell go run ./hack/kubernetes -print-dir)
FUZZTIME ?= 10s
TESTFLAGS ?=
N ?= 1000
BENCHFLAGS ?=
# The modules of the code: the operator, the zone server, the tests.
MODULES ?= . devzone test
# What the image of dist/install.yaml is called.
IMG ?= keycard-operator:latest
PACKAGES ?= ./...
export MODULES PACKAGES

# One report of the tests of all modules; its last line says how many were run.
report = $(GOTESTSUM) --format=pkgname --format-hide-empty-pkg --raw-command -- hack/test.sh

# $(call in-each-module,command): runs it in the folder of each module. The first that fails is the last.
in-each-module = for module in $(MODULES); do (cd $$module && $(1)) || exit; done

##@ The two that matter

.PHONY: demo
demo: ## Run the main job end to end: real Kubernetes, a zone, two manifests, a token that stays fresh (KEEP=1 leaves it running)
	$(static) go build -C test -o $(CURDIR)/.cache/demo/demo ./demo
	exec .cache/demo/demo $(if $(KEEP),--keep)

.PHONY: test
test: kubernetes gitops $(HELM) $(GOTESTSUM) ## Run all tests on a real control plane (MODULES, PACKAGES, TESTFLAGS)
	hack/programs.sh tests
	KUBEBUILDER_ASSETS="$(abspath $(KUBERNETES))" $(report) all $(TESTFLAGS)

.PHONY: test-unit
test-unit: $(GOTESTSUM) ## Run the tests that need neither a control plane nor a browser (MODULES, PACKAGES, TESTFLAGS)
	$(report) unit $(TESTFLAGS)

.PHONY: e2e
e2e: node build-installer ## Run pods on a real node with a network, as root: dist/install.yaml and a consumer through restarts of everything
	hack/programs.sh e2e
	KUBEBUILDER_ASSETS="$(abspath $(KUBERNETES))" $(static) go test -C test -tags e2e -count=1 -timeout 20m -v $(TESTFLAGS) ./e2e

##@ Code

.PHONY: generate
generate: $(CONTROLLER_GEN) ## Generate deepcopy functions
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

.PHONY: manifests
manifests: $(CONTROLLER_GEN) ## Generate CRDs and RBAC from the code
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=keycard-operator paths=./controllers/... output:rbac:dir=config/rbac

CHART := charts/keycard-operator
.PHONY: chart
chart: $(KUSTOMIZE) ## Copy what the Helm chart shares with config/ into it
	$(KUSTOMIZE) build config/crd > $(CHART)/files/crds.yaml
	$(KUSTOMIZE) build config/account > $(CHART)/files/account.yaml
	$(KUSTOMIZE) build config/namespaced/watched > $(CHART)/files/watched.yaml
	cp config/rbac/{role,role_binding,user_roles,restart}.yaml $(CHART)/files/
	cp config/manager/disruption_budget.yaml config/manager/network_policy.yaml $(CHART)/files/

.PHONY: docs
docs: $(CRD_REF_DOCS) ## Generate the API reference, docs/api.md
	$(CRD_REF_DOCS) --source-path=api --config=hack/docs/config.yaml --renderer=markdown --output-path=docs/api.md --log-level=ERROR

.PHONY: fmt
fmt: $(LINT) ## Format the code
	$(LINT) fmt ./...

.PHONY: lint
lint: $(LINT) ## Lint the code, dependency directions included
	export $(static); $(call in-each-module,$(abspath $(LINT)) run --allow-serial-runners ./...)

.PHONY: lint-api
lint-api: $(LINT) ## Lint the API against Kubernetes' conventions
	$(static) $(LINT) run --allow-serial-runners --config=.golangci-kal.yml ./api/...

.PHONY: verify
verify: ## Check that generated files are up to date, then lint: what CI wants before it tests
	hack/verify.sh

.PHONY: bench
bench: kubernetes ## Measure the operator with N (1000) bindings, and print the figures of docs/performance.md
	$(static) go build -C test -o $(CURDIR)/.cache/bench/bench ./bench
	KUBEBUILDER_ASSETS="$(abspath $(KUBERNETES))" exec .cache/bench/bench --bindings=$(N) $(BENCHFLAGS)

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (10s) each
	hack/fuzz.sh $(FUZZTIME)

##@ Build

.PHONY: build
build: ## Build bin/operator, bin/devzone and bin/kubectl-keycard, the plugin of kubectl
	$(static) go build -ldflags "$(LDFLAGS)" -o bin/ ./cmd/...
	$(static) go build -C devzone -ldflags "$(LDFLAGS)" -o $(CURDIR)/bin/ ./cmd/...

.PHONY: build-installer
build-installer: $(KUSTOMIZE) manifests ## Write dist/install.yaml, dist/namespaced.yaml and dist/crds.yaml (IMG=registry/keycard-operator:v1)
	mkdir -p dist
	$(KUSTOMIZE) build config/default | sed 's|image: keycard-operator:latest|image: $(IMG)|' > dist/install.yaml
	$(KUSTOMIZE) build config/namespaced | sed 's|image: keycard-operator:latest|image: $(IMG)|' > dist/namespaced.yaml
	$(KUSTOMIZE) build config/crd > dist/crds.yaml

.PHONY: image
image: ## Build the operator's images (amd64, arm64) from the Dockerfile and check them; needs root, buildah and busybox-static, no registry
	hack/image.sh $(VERSION)

.PHONY: sbom
sbom: build ## Write dist/sbom.cdx.json: what the operator is made of, in the form of CycloneDX
	mkdir -p dist
	$(static) go run -C test ./sbom $(CURDIR)/bin/operator $(VERSION) > dist/sbom.cdx.json

.PHONY: kubernetes
kubernetes: ## Build etcd, kube-apiserver, kube-controller-manager and kubectl (about 7 minutes, once), or use KUBEBUILDER_ASSETS
	go run ./hack/kubernetes

.PHONY: node
node: ## Build kubelet, containerd and a network of pods too (about 4 minutes more, once)
	go run ./hack/kubernetes -node

.PHONY: gitops
gitops: $(GITOPS)/kustomize-controller $(GITOPS)/argocd $(GITOPS)/kustomize ## Build the controllers of Argo CD and Flux, for tests (about 4 minutes, once)
	@ln -sfn $(notdir $(GITOPS)) .cache/gitops/current

.PHONY: tools
tools: $(CONTROLLER_GEN) $(CRD_REF_DOCS) $(KUSTOMIZE) $(LINT) $(HELM) $(GOTESTSUM) ## Build the tools (about 6 minutes, once)

.PHONY: helm
helm: $(HELM) ## Build helm, with which docs/deploy.md is tested, and print where it is
	@echo $(HELM)

# $(call build-tool,module folder,package)
define build-tool
	@echo "building $(notdir $@) (once) ..."
	@mkdir -p $(@D)
	@start=$$SECONDS; $(static) go build -C $(1) -ldflags "-s -w" -o $(abspath $@).tmp $(2) && mv $@.tmp $@ && \
		echo "built $(notdir $@) in $$((SECONDS - start)) s"
endef

$(CONTROLLER_GEN):
	$(call build-tool,hack/tools,sigs.k8s.io/controller-tools/cmd/controller-gen)

$(CRD_REF_DOCS):
	$(call build-tool,hack/tools,github.com/elastic/crd-ref-docs)

$(KUSTOMIZE):
	$(call build-tool,hack/tools,sigs.k8s.io/kustomize/kustomize/v5)

$(GOTESTSUM):
	$(call build-tool,hack/tools,gotest.tools/gotestsum)

$(LINT):
	$(call build-tool,hack/tools/lint,.)

$(HELM):
	$(call build-tool,hack/tools/helm,helm.sh/helm/v4/cmd/helm)

$(GITOPS)/kustomize-controller:
	$(call build-tool,hack/gitops,github.com/fluxcd/kustomize-controller)

$(GITOPS)/argocd:
	$(call build-tool,hack/gitops,./argocd)

$(GITOPS)/kustomize:
	$(call build-tool,hack/gitops,sigs.k8s.io/kustomize/kustomize/v5)

.PHONY: clean
clean: ## Remove bin and dist
	rm -rf bin dist

.PHONY: clean-cache
clean-cache: ## Remove Kubernetes, Argo CD, Flux, the tools and the linter's cache: building them takes minutes
	rm -rf .cache

##@ Help

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "; printf "Usage: make TARGET\n"} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
