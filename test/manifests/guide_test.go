// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package manifests

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keycardai/keycard-operator/hack/kubernetes/assets"
	"github.com/keycardai/keycard-operator/test/testenv/program"
)

// notRun are the commands of docs/deploy.md that this test does not run, and why.
var notRun = map[string]string{
	"kubectl -n keycard-system rollout status deployment/keycard-operator": "no node runs the pods here; make e2e waits for them on one",
	`docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1 --build-arg REVISION="$(git rev-parse HEAD)" \` +
		"\n  --tag registry.example.com/keycard-operator:v1 --push .": "there is no Docker and no registry; make image builds the Dockerfile with buildah",
}

// Every command of docs/deploy.md is run as it is shown, with kubectl, make and helm, against a real API server; after each
// part there is what the document says.
func TestDeployGuide(t *testing.T) {
	t.Parallel()
	g := newGuide(t)
	before := g.everything()
	g.wholeCluster()
	g.removalInTheWrongOrder()
	g.helm()
	g.takeOver()
	g.helmInSingleNamespaces()
	g.singleNamespaces()
	g.nothingBut(before)
	g.allWasRun()
}

// helm is of one version, whether tests link it or run it.
func TestHelmIsOfOneVersion(t *testing.T) {
	const helm = "helm.sh/helm/v4"
	linked, err := assets.Version("../..", "test", helm)
	if err != nil {
		t.Fatal(err)
	}
	run, err := assets.Version("../..", "hack/tools/helm", helm)
	if err != nil {
		t.Fatal(err)
	}
	if linked != run {
		t.Errorf("test/go.mod has helm %s, hack/tools/helm/go.mod has %s", linked, run)
	}
}

// guide is docs/deploy.md, and what runs its commands.
type guide struct {
	*deployment
	operator string
	// project is a copy of the source tree: make writes into it, and other tests read the original.
	project string
	env     []string
	// commands are the document's by section, and ran those that were run.
	commands map[string][]string
	ran      map[string]bool
}

func newGuide(t *testing.T) *guide {
	t.Helper()
	g := &guide{deployment: newDeployment(t), project: copyOfProject(t), ran: map[string]bool{}}
	document, err := os.ReadFile("../../docs/deploy.md")
	g.must(err)
	g.commands = shellCommands(string(document))
	g.operator = g.build("../..")
	kubeconfig, err := g.c.WriteKubeconfig("guide", g.c.Config)
	g.must(err)
	for _, variable := range os.Environ() {
		// When make runs the test, its own flags are not meant for the make that is tested.
		if name, _, _ := strings.Cut(variable, "="); !slices.Contains([]string{"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "KUBECONFIG"}, name) {
			g.env = append(g.env, variable)
		}
	}
	g.env = append(g.env, "KUBECONFIG="+kubeconfig, "HELM_CACHE_HOME="+g.dir, "HELM_CONFIG_HOME="+g.dir, "HELM_DATA_HOME="+g.dir)
	built := strings.Fields(g.sh("make --no-print-directory helm"))
	helm := filepath.Join(g.project, built[len(built)-1])
	g.env = append(g.env, "PATH="+filepath.Dir(helm)+":"+filepath.Dir(g.c.KubectlPath())+":"+os.Getenv("PATH"))
	go g.nudge(t.Context())
	return g
}

// nudgeEvery is how often CRDs that are being deleted are changed.
const nudgeEvery = 30 * time.Second

// nudge changes the CRDs whose deletion lasts, as the document says. Now and then the API server does not end the deletion of one
// that it has just changed. Why is not known; a change has it look again, and so does the resync of its informers after five
// minutes.
func (g *guide) nudge(ctx context.Context) {
	const ending = `kubectl get crds -o jsonpath='{range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name}{"\n"}{end}'`
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(nudgeEvery):
		}
		cmd := exec.CommandContext(ctx, "bash", "-c", ending+" | xargs -r -I{} kubectl annotate crd {} --overwrite again="+strconv.Itoa(n)) // #nosec G204 -- constant
		cmd.Dir, cmd.Env = g.project, g.env
		if out, _ := cmd.Output(); len(out) > 0 && ctx.Err() == nil { // they may be gone by now
			g.t.Logf("the deletion of CRDs lasts: %s", out)
		}
	}
}

// resync is how long a deletion may take that only the resync of the API server's informers ends.
const resync = 6 * time.Minute

// copyOfProject copies what git knows and does not ignore; the tools are shared with the original.
func copyOfProject(t *testing.T) string {
	t.Helper()
	original, err := assets.Root()
	if err != nil {
		t.Fatal(err)
	}
	project := t.TempDir()
	if err := os.MkdirAll(filepath.Join(original, ".cache"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(original, ".cache"), filepath.Join(project, ".cache")); err != nil {
		t.Fatal(err)
	}
	names, err := exec.CommandContext(t.Context(), "git", "-C", original, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output() // #nosec G204 -- our own folder
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(original, name), filepath.Join(project, name)); err != nil && !os.IsNotExist(err) { // deleted, not yet committed
			t.Fatal(err)
		}
	}
	return project
}

func copyFile(from, to string) error {
	source, err := os.Open(from) // #nosec G304 -- of the project
	if err != nil {
		return err
	}
	defer source.Close()
	if info, err := source.Stat(); err != nil || info.IsDir() {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	target, err := os.Create(to) // #nosec G304 -- a test's own folder
	if err != nil {
		return err
	}
	if _, err := io.Copy(target, source); err != nil {
		_ = target.Close()
		return err
	}
	return target.Close()
}

var (
	section    = regexp.MustCompile(`(?m)^## (.+)$`)
	shellBlock = regexp.MustCompile("(?s)\n```sh\n(.*?)\n```\n")
	comment    = regexp.MustCompile(`\s+# .*`)
)

// shellCommands gives the commands of a document's shell blocks, by the headings of their sections. A line that ends with a
// backslash goes on.
func shellCommands(document string) map[string][]string {
	found := map[string][]string{}
	starts := section.FindAllStringSubmatchIndex(document, -1)
	for i, at := range starts {
		end := len(document)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		title := document[at[2]:at[3]]
		for _, block := range shellBlock.FindAllStringSubmatch(document[at[1]:end], -1) {
			for command := range strings.SplitSeq(strings.ReplaceAll(block[1], "\\\n", "\\\v"), "\n") {
				found[title] = append(found[title], comment.ReplaceAllString(strings.ReplaceAll(command, "\\\v", "\\\n"), ""))
			}
		}
	}
	return found
}

// run runs the commands of a section that begin so, and gives what they print. Each is the only one.
func (g *guide) run(section string, beginnings ...string) (printed string) {
	g.t.Helper()
	for _, beginning := range beginnings {
		printed += g.sh(g.command(section, beginning))
	}
	return printed
}

// command gives the one command of a section that begins so, and notes that it is run.
func (g *guide) command(section, beginning string) string {
	g.t.Helper()
	var found []string
	for _, command := range g.commands[section] {
		if strings.HasPrefix(command, beginning) {
			found = append(found, command)
		}
	}
	if len(found) != 1 {
		g.t.Fatalf("section %q of docs/deploy.md has %d commands that begin with %q: %q", section, len(found), beginning, found)
	}
	g.ran[section+": "+found[0]] = true
	return found[0]
}

// allWasRun names each command that was not run, but those of notRun, which have to be there.
func (g *guide) allWasRun() {
	g.t.Helper()
	excused := map[string]bool{}
	for section, commands := range g.commands {
		for _, command := range commands {
			switch {
			case notRun[command] != "":
				excused[command] = true
			case !g.ran[section+": "+command]:
				g.t.Errorf("no test runs what section %q of docs/deploy.md shows: %s", section, command)
			}
		}
	}
	for command := range notRun {
		if !excused[command] {
			g.t.Errorf("docs/deploy.md does not show: %s", command)
		}
	}
}

// sh runs a command in a shell, in the project, and gives what it prints.
func (g *guide) sh(command string) string {
	g.t.Helper()
	out, err := g.try(command)
	if err != nil {
		g.t.Fatalf("%s: %v: %s\nthe operator's log ends with\n%s", command, err, out, program.Tail(g.log, 20))
	}
	return out
}

func (g *guide) try(command string) (string, error) {
	limit := 2 * patience
	if strings.HasPrefix(command, "kubectl delete") {
		limit = resync
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command) // #nosec G204 -- of our own document
	cmd.Dir, cmd.Env = g.project, g.env
	// What takes too long ends with all that it started.
	cmd.SysProcAttr = program.GroupOfItsOwn()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	start := time.Now()
	out, err := cmd.CombinedOutput()
	g.t.Logf("%s: %s", time.Since(start).Round(time.Second/10), command)
	return string(out), err
}

// refused runs a command that has to fail and to say why.
func (g *guide) refused(command, why string) {
	g.t.Helper()
	if out, err := g.try(command); err == nil || !strings.Contains(out, why) {
		g.t.Errorf("%s: %v: %s; want a refusal that says %q", command, err, out, why)
	}
}

// may checks whether the operator of team-a may do something in a namespace: "get secrets", "patch deployments.apps".
func (g *guide) may(want bool, what, namespace string) {
	g.t.Helper()
	answer := "no"
	if want {
		answer = "yes"
	}
	// kubectl fails when the answer is no.
	out, _ := g.try("kubectl auth can-i " + what + " -n " + namespace + " --as=system:serviceaccount:team-a:keycard-operator")
	if strings.TrimSpace(out) != answer {
		g.t.Errorf("may the operator of team-a %s in %s? %s, want %s", what, namespace, out, answer)
	}
}
