// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/keycardai/keycard-operator/test/must"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// image is a program of this repository in an image without a base, as the Dockerfile makes them.
type image struct {
	name, program string
	// module is its folder, pkg the package in it.
	module, pkg string
}

var images = []image{
	{testenv.PauseImage, "pause", "test", "./e2e/pause"},
	{"example.com/keycard-operator:e2e", "operator", ".", "./cmd/operator"},
	{"example.com/consumer:e2e", "consumer", "test", "./e2e/consumer"},
}

// programsEnv names the folder of the programs.
const programsEnv = "KEYCARD_E2E_PROGRAMS"

// buildPrograms builds what is not built yet, tells the tests where it is, and gives the folder to be removed.
func buildPrograms() (dir string, err error) {
	if os.Getenv(programsEnv) != "" {
		return "", nil
	}
	if dir, err = os.MkdirTemp("", "e2e-programs-"); err != nil {
		return "", err
	}
	for _, i := range images {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, i.program), i.pkg) // #nosec G204 -- ours
		cmd.Dir, cmd.Env = filepath.Join(root, i.module), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
		if out, err := cmd.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("building %s: %w: %s", i.pkg, err, out)
		}
	}
	return dir, os.Setenv(programsEnv, dir)
}

// imageArchives gives the paths of image archives. What runs in them trusts an authority besides the system's.
func imageArchives(t *testing.T, authority []byte) []string {
	t.Helper()
	dir := t.TempDir()
	var archives []string
	for _, i := range images {
		archives = append(archives, i.archive(t, dir, authority))
	}
	return archives
}

func (i image) archive(t *testing.T, dir string, authority []byte) string {
	t.Helper()
	binary := filepath.Join(os.Getenv(programsEnv), i.program)
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return i.layer(binary, authority) })
	must.Succeed(t, err)
	img, err := mutate.AppendLayers(empty.Image, layer)
	must.Succeed(t, err)
	img, err = mutate.Config(img, v1.Config{User: "65532:65532", Entrypoint: []string{"/" + i.program}})
	must.Succeed(t, err)
	file, err := img.ConfigFile()
	must.Succeed(t, err)
	file.OS, file.Architecture = "linux", runtime.GOARCH
	img, err = mutate.ConfigFile(img, file)
	must.Succeed(t, err)
	tag, err := name.NewTag(i.name)
	must.Succeed(t, err)
	archive := filepath.Join(dir, i.program+".tar")
	must.Succeed(t, tarball.WriteToFile(archive, tag, img))
	return archive
}

// layer is what the Dockerfile copies.
func (i image) layer(binary string, authority []byte) (io.ReadCloser, error) {
	program, err := os.ReadFile(binary) // #nosec G304 -- built a moment ago
	if err != nil {
		return nil, err
	}
	authorities, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{
		{i.program, 0o755, program},
		{"etc/passwd", 0o644, []byte("nonroot:x:65532:65532::/:/none\n")},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, append(authorities, authority...)},
	} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(&out), w.Close()
}
