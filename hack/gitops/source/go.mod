// Pins the version whose CRDs tests apply. It is built by nobody, so nothing imports it and this file is not what
// `go mod tidy` would make of it.
module github.com/keycardai/keycard-operator/hack/gitops/source

go 1.26.0

require github.com/fluxcd/source-controller v1.9.6
