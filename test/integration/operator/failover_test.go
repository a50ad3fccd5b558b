// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/devzone"
	"github.com/keycardai/keycard-operator/test/integration/world"
	"github.com/keycardai/keycard-operator/test/must"
)

// operatorNamespace is where the operator's ServiceAccount and Lease are.
const operatorNamespace = "keycard-system"

// Of two operators with the shipped permissions and defaults, one works at a time. When it ends the other goes on soon, and
// makes again at most the exchange that was under way when the other was killed.
func TestFailover(t *testing.T) {
	t.Parallel() // its parts follow one another: they share a Lease
	world.ApplyShipped(t)
	binaries := map[string]string{}
	for _, name := range []string{"first", "second"} {
		binaries[name] = buildOperator(t, name)
	}
	t.Run("asked to stop", func(t *testing.T) {
		p := newPair(t, binaries)
		start := p.interrupt(syscall.SIGTERM)
		p.release() // the one that stops awaits the answer
		p.expectTakeover(start, 5*time.Second)
		if !p.ends(p.first) || p.first.err != nil {
			t.Errorf("the one that was asked to stop ended with %v", p.first.err)
		}
		p.expectExchanges(map[string]int{"healthy": 1, "under-way": 1, "next": 1})
	})
	t.Run("killed", func(t *testing.T) {
		p := newPair(t, binaries)
		start := p.interrupt(syscall.SIGKILL)
		p.release()
		p.expectTakeover(start, 20*time.Second)
		p.expectExchanges(map[string]int{"healthy": 1, "under-way": 2, "next": 1})
	})
	t.Run("a Secret changes in between", func(t *testing.T) {
		p := newPair(t, binaries)
		healthy := p.Binding("healthy")
		must.Succeed(t, p.first.cmd.Process.Signal(syscall.SIGKILL))
		if !p.ends(p.first) {
			t.Fatal("it does not end")
		}
		s := p.Output(healthy)
		s.Data["token"], s.Labels = []byte("tampered"), nil
		must.Succeed(t, p.K8s.Update(p.Ctx, s))
		p.Eventually("the other replica puts it right", func(context.Context) (bool, error) {
			now := p.Output(healthy)
			return string(now.Data["token"]) != "tampered" && now.Labels[v1alpha1.ManagedByLabel] != "", nil
		})
		p.Pages(p.Output(healthy))
		p.expectExchanges(map[string]int{"healthy": 2})
	})
	t.Run("stopped past its lease", func(t *testing.T) {
		p := newPair(t, binaries)
		start := p.interrupt(syscall.SIGSTOP)
		p.release() // the token waits at the socket of the one that is stopped
		p.expectTakeover(start, 20*time.Second)
		p.expectExchanges(map[string]int{"healthy": 1, "under-way": 2, "next": 1})
		p.traffic.Take()
		must.Succeed(t, p.first.cmd.Process.Signal(syscall.SIGCONT))
		start = time.Now()
		must.Succeed(t, p.K8s.Create(p.Ctx, p.Binding("late")))
		p.UntilReady(p.Binding("late"))
		if !p.ends(p.first) || p.first.err == nil {
			t.Error("the deposed leader did not end with an error")
		}
		t.Logf("the deposed leader ended %s after it went on", time.Since(start).Round(10*time.Millisecond))
		p.expectExchanges(map[string]int{"healthy": 0, "under-way": 0, "next": 0, "late": 1})
		p.expectSilence(p.traffic.Take())
	})
}

// pair is two operators, of which the first works.
type pair struct {
	*world.World
	first, second *replica
	// traffic is what they asked of the cluster, the zone and Atlassian: "agent surface METHOD /path".
	traffic *world.Recorder
	// held is closed when the answer to the first exchange for binding under-way is there, which is sent after release.
	held    chan struct{}
	release func()
}

func newPair(t *testing.T, binaries map[string]string) *pair {
	t.Helper()
	p := &pair{traffic: &world.Recorder{}, held: make(chan struct{})}
	released := make(chan struct{})
	p.release = sync.OnceFunc(func() { close(released) })
	p.World = world.Another(t, world.RealTime, func(c *devzone.Config) {
		zone, api, atlassian := c.ZoneMiddleware, c.APIMiddleware, c.AtlassianMiddleware
		c.ZoneMiddleware = func(next http.Handler) http.Handler { return p.witness("zone", p.holdFirst(zone(next), released)) }
		c.APIMiddleware = func(next http.Handler) http.Handler { return p.witness("api", api(next)) }
		c.AtlassianMiddleware = func(next http.Handler) http.Handler { return p.witness("atlassian", atlassian(next)) }
	})
	t.Cleanup(p.release) // before the zone closes, which waits for its answers
	must.Succeed(t, p.K8s.Create(p.Ctx, p.Install()))
	must.Succeed(t, p.K8s.Create(p.Ctx, p.Binding("healthy")))
	p.first = p.startReplica(binaries["first"], p.proxy("first"))
	p.UntilReady(p.Binding("healthy"))
	p.second = p.startReplica(binaries["second"], p.proxy("second"))
	p.Eventually("the second stands by", func(context.Context) (bool, error) {
		return p.traffic.Count("operator/second cluster GET /apis/coordination.k8s.io/") > 0, nil
	})
	return p
}

// witness records who asks for what.
func (p *pair) witness(surface string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		p.traffic.Mu.Lock()
		p.traffic.Seen = append(p.traffic.Seen, r.UserAgent()+" "+surface+" "+r.Method+" "+r.URL.Path)
		p.traffic.Mu.Unlock()
		next.ServeHTTP(rw, r)
	})
}

// holdFirst serves the first exchange for binding under-way, and holds its answer back.
func (p *pair) holdFirst(next http.Handler, released <-chan struct{}) http.Handler {
	var once sync.Once
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.Contains(r.UserAgent(), "/under-way)") {
			next.ServeHTTP(rw, r)
			return
		}
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		once.Do(func() {
			close(p.held)
			<-released
		})
		maps.Copy(rw.Header(), answer.Header())
		rw.WriteHeader(answer.Code)
		_, _ = rw.Write(answer.Body.Bytes()) // who asked may have been killed
	})
}

// proxy stands before the apiserver as the witness of one replica, and gives a kubeconfig of the operator's ServiceAccount
// with its address. The agent alone does not name the replica: the client of the Lease has another.
func (p *pair) proxy(replica string) (kubeconfig string) {
	p.T.Helper()
	cfg, err := world.Cluster.ServiceAccount(p.Ctx, operatorNamespace, "keycard-operator", time.Hour)
	must.Succeed(p.T, err)
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(world.Cluster.Config))
	must.Succeed(p.T, err)
	target, _, err := rest.DefaultServerUrlFor(world.Cluster.Config)
	must.Succeed(p.T, err)
	server := httptest.NewTLSServer(p.witness("operator/"+replica+" cluster", &httputil.ReverseProxy{
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0), // of watches that end with a replica
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
	}))
	p.T.Cleanup(server.Close)
	cfg.Host = server.URL // https, or the token would not be sent
	cfg.CAData = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	kubeconfig, err = world.Cluster.WriteKubeconfig(p.NS+"-"+replica, cfg)
	must.Succeed(p.T, err)
	return kubeconfig
}

// replica is a running operator.
type replica struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// startReplica runs the operator's program with the defaults of its leader election.
func (p *pair) startReplica(binary, kubeconfig string) *replica {
	p.T.Helper()
	r := &replica{ended: make(chan struct{}), cmd: exec.Command(binary, "--kubeconfig", kubeconfig,
		"--leader-election-namespace="+operatorNamespace, "--watch-namespaces="+p.NS,
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--allow-insecure-loopback",
		"--cluster-id="+world.ClusterID, "--atlassian-url="+p.Zone.AtlassianURL, "-v=1")}
	r.cmd.Stdout, r.cmd.Stderr = p.Logs, p.Logs
	must.Succeed(p.T, r.cmd.Start())
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	p.T.Cleanup(func() {
		// One that works gives its Lease up, for the next test.
		_ = r.cmd.Process.Signal(syscall.SIGTERM)
		if !p.ends(r) {
			_ = r.cmd.Process.Kill()
			<-r.ended
			p.T.Error("an operator had to be killed")
		}
	})
	return r
}

// ends waits for the end of a replica.
func (p *pair) ends(r *replica) bool {
	select {
	case <-r.ended:
		return true
	case <-time.After(world.Patience):
		return false
	}
}

// interrupt signals the first replica amid an exchange, and then makes work for whoever comes next.
func (p *pair) interrupt(signal syscall.Signal) (at time.Time) {
	p.T.Helper()
	must.Succeed(p.T, p.K8s.Create(p.Ctx, p.Binding("under-way")))
	select {
	case <-p.held:
	case <-time.After(world.Patience):
		p.T.Fatalf("nothing was exchanged: %s", p.Logs)
	}
	must.Succeed(p.T, p.first.cmd.Process.Signal(signal))
	at = time.Now()
	must.Succeed(p.T, p.K8s.Create(p.Ctx, p.Binding("next")))
	return at
}

// expectTakeover waits until the second replica works.
func (p *pair) expectTakeover(start time.Time, within time.Duration) {
	p.T.Helper()
	p.UntilReady(p.Binding("next"))
	gap := time.Since(start)
	p.T.Logf("the other replica had a new binding Ready %s after the signal", gap.Round(10*time.Millisecond))
	if gap > within {
		p.T.Errorf("that is more than %s", within)
	}
	p.UntilReady(p.Binding("under-way"))
	if p.traffic.Count("operator/second (ConfluenceTokenBinding "+p.NS+"/next) "+world.Exchanges) == 0 {
		p.T.Error("it was not the other replica")
	}
}

// expectExchanges checks how many exchanges both replicas together made for each binding, at most.
func (p *pair) expectExchanges(most map[string]int) {
	p.T.Helper()
	for name, n := range most {
		if got := p.traffic.Count("/" + name + ") " + world.Exchanges); got > n || got < min(n, 1) {
			p.T.Errorf("%d exchanges for binding %s, at most %d are needed", got, name, n)
		}
	}
	p.NoCanaries()
}

// expectSilence checks that the first replica asked for nothing in the traffic but to read the cluster.
func (p *pair) expectSilence(traffic []string) {
	p.T.Helper()
	for _, what := range traffic {
		if strings.Contains(what, "operator/first") && !strings.Contains(what, " cluster GET ") {
			p.T.Errorf("the deposed leader: %s", what)
		}
	}
}
