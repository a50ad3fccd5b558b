# syntax=docker/dockerfile:1
#
# docker build -t keycard-operator .                   the operator
# docker build -t devzone --target devzone .           the development zone; never in production
#
# docker buildx build --platform linux/amd64,linux/arm64 . compiles on the builder's own platform for each. `make image`
# does the same with buildah, so the instructions are those that both know.

FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
ARG TARGETOS TARGETARCH
ARG VERSION=dev
WORKDIR /src
# The modules are a layer of their own: a change of code does not download them again.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY api api
COPY cmd cmd
COPY controllers controllers
COPY internal internal
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOFLAGS=-buildvcs=false \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/operator
# A name for the user: some tools ask for the one they run as.
RUN echo 'nonroot:x:65532:65532::/:/none' > /out/passwd

# devzone is a module of its own, so that the operator's build knows nothing of it.
FROM build AS build-devzone
COPY devzone/go.mod devzone/go.sum devzone/
RUN --mount=type=cache,target=/go/pkg/mod go mod download -C devzone
COPY devzone devzone
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOFLAGS=-buildvcs=false \
    go build -C devzone -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/devzone

# What both images share: no shell, no package manager, nobody's root.
FROM scratch AS base
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/passwd /etc/passwd
USER 65532:65532
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.source="https://github.com/keycardai/keycard-operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.vendor="Keycard" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION

FROM base AS devzone
LABEL org.opencontainers.image.title="devzone" \
      org.opencontainers.image.description="A Keycard zone and a stand-in for Atlassian, for development and tests"
COPY --from=build-devzone /out/devzone /devzone
EXPOSE 8090 8091 8092
ENTRYPOINT ["/devzone"]

# The last stage is the default one.
FROM base AS operator
LABEL org.opencontainers.image.title="keycard-operator" \
      org.opencontainers.image.description="Keeps Confluence tokens fresh in Kubernetes Secrets through a Keycard zone"
COPY --from=build /out/operator /operator
EXPOSE 8081
ENTRYPOINT ["/operator"]
