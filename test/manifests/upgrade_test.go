// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// firstManifest is the commit to upgrade from while no version is tagged.
const firstManifest = "7fdbdba5e97628055cf89294f629a36f13d44199"

// The upgrade from the manifest before costs nothing: no exchange and no write of a Secret. What the operator of the version
// before has written is gone on with.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	before := previous(t)
	d := newDeployment(t)
	d.install(before)
	_, stop := d.start(d.build(before))
	d.apply(keptInstall)
	d.apply(twoBindings)
	d.untilReady("platform", "keycardresource/kept")
	d.untilReady("app", "confluencetokenbinding/first", "confluencetokenbinding/second")
	stop()
	exchanges, secrets := d.exchanges.Load(), d.versions()
	if exchanges < 2 || strings.Count(secrets, "-token=") != 2 {
		t.Fatalf("before the upgrade there were %d exchanges, and the Secrets %s", exchanges, secrets)
	}

	d.install("../..")
	o, _ := d.start(d.build("../.."))
	d.eventually("all objects were reconciled", func(ctx context.Context) (bool, error) {
		metrics, err := program.Get(ctx, o.MetricsURL)
		return sum(metrics, "reconcile_total", "confluencetokenbinding") >= 2 && sum(metrics, "reconcile_total", "keycardresource") >= 1 &&
			sum(metrics, "active_workers", "[a-z]+") == 0, err
	})
	d.untilReady("platform", "keycardresource/kept")
	d.untilReady("app", "confluencetokenbinding/first", "confluencetokenbinding/second")
	if n := d.exchanges.Load() - exchanges; n != 0 {
		t.Errorf("the upgrade made %d exchanges", n)
	}
	if now := d.versions(); now != secrets {
		t.Errorf("the upgrade changed the Secrets from\n%s to\n%s", secrets, now)
	}

	d.kubectl("annotate", "-n", "app", "confluencetokenbindings", "--all", "keycard.cloud/refresh-requested-at=now")
	d.kubectl("wait", "-n", "app", "--for=jsonpath={.status.lastRefreshRequest}=now", "--timeout=60s", "confluencetokenbindings", "--all")
	d.untilReady("app", "confluencetokenbinding/first", "confluencetokenbinding/second")
	if n := d.exchanges.Load() - exchanges; n != 2 {
		t.Errorf("the next rotation of two tokens took %d exchanges", n)
	}
}

// versions gives the Secrets of the application's namespace with their resource versions.
func (d *deployment) versions() string {
	d.t.Helper()
	return d.kubectl("get", "secrets", "-n", "app", "-o", `jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion}{"\n"}{end}`)
}

// sum adds up the values of a controller's metric.
func sum(metrics, name, controller string) (total float64) {
	line := regexp.MustCompile(`(?m)^controller_runtime_` + name + `\{controller="` + controller + `".*\} (\S+)$`)
	for _, found := range line.FindAllStringSubmatch(metrics, -1) {
		if value, err := strconv.ParseFloat(found[1], 64); err == nil {
			total += value
		}
	}
	return total
}

// previous gives the source tree of the version before this one.
func previous(t *testing.T) string {
	t.Helper()
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", "../.."}, args...)...).CombinedOutput() // #nosec G204 -- constants
		return strings.TrimSpace(string(out)), err
	}
	version, err := git("describe", "--tags", "--abbrev=0", "HEAD^")
	if err != nil {
		version = firstManifest
	}
	tree := filepath.Join(t.TempDir(), "before")
	archive := tree + ".tar"
	if out, err := git("archive", "--output", archive, version); err != nil {
		t.Fatalf("the version before, %s, is not in this clone; fetch the whole history (git fetch --unshallow --tags): %v: %s", version, err, out)
	}
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil { // #nosec G204 -- our own folder
		t.Fatalf("unpacking %s: %v: %s", archive, err, out)
	}
	return tree
}
