// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// asProgram makes the test binary be devzone itself.
const asProgram = "DEVZONE_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const (
	crashRequests = 10_000
	crashKills    = 20
	crashWorkers  = 8
	confluence    = "https://api.atlassian.com/ex/confluence"
)

// program is devzone as a process on a data folder.
type program struct {
	t                    *testing.T
	args                 []string
	key                  string
	zone, api, atlassian string
	cmd                  *exec.Cmd
	log                  bytes.Buffer
	client               *http.Client
	token                string
}

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{
		t: t, key: base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{3}, 32)),
		client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: crashWorkers}},
	}
	// The issuer is part of the state, so that the addresses stay the same.
	addresses := [3]string{freeAddress(t), freeAddress(t), freeAddress(t)}
	p.zone, p.api, p.atlassian = "http://"+addresses[0], "http://"+addresses[1], "http://"+addresses[2]
	p.args = []string{
		"--data", filepath.Join(t.TempDir(), "data"),
		"--admin-address=127.0.0.1:0", "--zone-address", addresses[0], "--api-address", addresses[1], "--atlassian-address", addresses[2],
	}
	return p
}

// freeAddress is one that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// start returns when the program serves, with the time that took.
func (p *program) start() time.Duration {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], p.args...)
	p.cmd.Env = append(os.Environ(), asProgram+"=1", dataKeyVariable+"="+p.key)
	p.log.Reset()
	p.cmd.Stderr = &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 4 {
		if !lines.Scan() {
			p.t.Fatalf("devzone ended: %v\n%s", p.cmd.Wait(), p.log.String())
		}
	}
	return time.Since(began)
}

func (p *program) kill() {
	p.client.CloseIdleConnections()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// errLost says that no answer came: the request may have been served or not.
var errLost = errors.New("no answer")

// call sends a request to the management API.
func (p *program) call(method, path string, body any) (status int, answer map[string]any, err error) {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequest(method, p.api+"/zones/zn-demo"+path, reader)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Content-Type", "application/json")
	return p.send(req)
}

func (p *program) form(target string, values url.Values) (int, map[string]any, error) {
	req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(values.Encode()))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.send(req)
}

func (p *program) send(req *http.Request) (int, map[string]any, error) {
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, errLost
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, errLost
	}
	var out map[string]any
	_ = json.Unmarshal(raw, &out)
	return resp.StatusCode, out, nil
}

// must is call for what has to succeed while nobody kills.
func (p *program) must(method, path string, body any) map[string]any {
	p.t.Helper()
	status, answer, err := p.call(method, path, body)
	if err != nil || status >= 300 {
		p.t.Fatalf("%s %s: %d %v %v", method, path, status, answer, err)
	}
	return answer
}

func (p *program) login() {
	p.t.Helper()
	status, answer, err := p.form(p.api+"/service-account-token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"operator"}, "client_secret": {"dev-only-operator-secret"},
	})
	if err != nil || status != 200 {
		p.t.Fatalf("logging in: %d %v %v", status, answer, err)
	}
	p.token = answer["access_token"].(string)
}

// exchange gets a Confluence token as alice.
func (p *program) exchange() (int, map[string]any, error) {
	part := base64.RawURLEncoding.EncodeToString
	subject := part([]byte(`{"typ":"vnd.kc.su+jwt","alg":"none"}`)) + "." + part([]byte(`{"sub":"alice@example.com"}`)) + "."
	return p.form(p.zone+"/oauth/2/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "resource": {confluence},
		"subject_token": {subject}, "subject_token_type": {"urn:keycard:params:oauth:token-type:substitute-user"},
		"client_id": {"reports"}, "client_secret": {"dev-only-reports-password"},
	})
}

// install registers the Atlassian app and Confluence.
func (p *program) install() {
	p.t.Helper()
	provider := p.must("POST", "/providers", map[string]any{
		"identifier": "https://auth.atlassian.com", "name": "Atlassian",
		"client_id": "atlassian-app", "client_secret": "dev-only-atlassian-secret",
		"protocols": map[string]any{"oauth2": map[string]any{
			"authorization_endpoint": "https://auth.atlassian.com/authorize", "token_endpoint": "https://auth.atlassian.com/oauth/token",
			"authorization_parameters": map[string]string{"audience": "api.atlassian.com", "prompt": "consent"},
		}},
	})
	p.must("POST", "/resources", map[string]any{
		"identifier": confluence, "name": "Confluence", "credential_provider_id": provider["id"],
		"scopes": []string{"read:confluence-content.all", "offline_access"},
	})
}

// object is what a worker knows of one of its objects.
type object struct {
	collection, identifier string
	id                     string
	// body is the last acknowledged answer.
	body map[string]any
	// The request under way when the program was killed, if any.
	unsure string
	name   string
}

func (o *object) path() string { return o.collection + "/" + o.id }

// worker changes objects of its own, one request at a time, and remembers what
// was acknowledged.
type worker struct {
	p       *program
	n       int
	made    int
	random  *rand.Rand
	objects []*object
	denied  []string
}

// step makes one request and returns errLost when the program is gone.
func (w *worker) step() error {
	if w.random.IntN(4) == 0 {
		status, answer, err := w.p.exchange()
		if err == nil && status != 200 {
			w.denied = append(w.denied, fmt.Sprint(answer))
		}
		return err
	}
	if len(w.objects) == 0 || w.random.IntN(3) == 0 {
		return w.create()
	}
	i := w.random.IntN(len(w.objects))
	o := w.objects[i]
	if w.random.IntN(3) == 0 {
		o.unsure = "DELETE"
		status, answer, err := w.p.call("DELETE", o.path(), nil)
		if err != nil {
			return err
		}
		if status != 204 {
			return fmt.Errorf("deleting %s: %d %v", o.path(), status, answer)
		}
		w.objects = append(w.objects[:i], w.objects[i+1:]...)
		return nil
	}
	o.unsure, o.name = "PATCH", fmt.Sprintf("name %d", w.random.IntN(1e9))
	status, answer, err := w.p.call("PATCH", o.path(), map[string]any{"name": o.name})
	if err != nil {
		return err
	}
	if status != 200 {
		return fmt.Errorf("changing %s: %d %v", o.path(), status, answer)
	}
	o.body, o.unsure = answer, ""
	return nil
}

func (w *worker) create() error {
	w.made++
	o := &object{
		collection: []string{"/providers", "/resources", "/applications"}[w.random.IntN(3)],
		identifier: fmt.Sprintf("urn:worker-%d:%d", w.n, w.made), unsure: "POST",
	}
	w.objects = append(w.objects, o)
	status, answer, err := w.p.call("POST", o.collection, map[string]any{"identifier": o.identifier, "name": "new"})
	if err != nil {
		return err
	}
	if status != 200 {
		return fmt.Errorf("creating %s: %d %v", o.identifier, status, answer)
	}
	o.id, o.body, o.unsure = answer["id"].(string), answer, ""
	return nil
}

// check compares what the program has with what it acknowledged. A request
// without an answer may have taken effect or not; what is found counts from
// then on.
func (w *worker) check() error {
	var kept []*object
	for _, o := range w.objects {
		found, err := w.find(o)
		if err != nil {
			return err
		}
		switch {
		case found == nil && (o.unsure == "POST" || o.unsure == "DELETE"):
			continue
		case found == nil:
			return fmt.Errorf("%s %s is lost", o.collection, o.identifier)
		case o.unsure == "POST" && found["name"] == "new":
		case o.unsure == "PATCH" && found["name"] == o.name:
		case !reflect.DeepEqual(found, o.body):
			return fmt.Errorf("%s is %v, acknowledged was %v", o.path(), found, o.body)
		}
		o.id, o.body, o.unsure = found["id"].(string), found, ""
		kept = append(kept, o)
	}
	w.objects = kept
	if len(w.denied) > 0 {
		return fmt.Errorf("%d exchanges failed, the first with %s", len(w.denied), w.denied[0])
	}
	return nil
}

func (w *worker) find(o *object) (map[string]any, error) {
	status, answer, err := w.p.call("GET", o.collection+"?identifier="+url.QueryEscape(o.identifier), nil)
	if err != nil || status != 200 {
		return nil, fmt.Errorf("looking for %s: %d %v %w", o.identifier, status, answer, err)
	}
	items, _ := answer["items"].([]any)
	if len(items) == 0 {
		return nil, nil
	}
	return items[0].(map[string]any), nil
}

// What was acknowledged is there after kill -9 at any moment: every object as it
// was last answered, the grant with its rotating refresh token, the bearer token
// of the management API.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	p := newProgram(t)
	p.start()
	defer func() { p.kill() }()
	p.login()
	p.install()
	workers := make([]*worker, crashWorkers)
	for i := range workers {
		workers[i] = &worker{p: p, n: i, random: rand.New(rand.NewPCG(uint64(i), 42))}
	}
	var sent atomic.Int64
	var slowest time.Duration
	random := rand.New(rand.NewPCG(1, 2))
	for round := range crashKills {
		target := int64(crashRequests/crashKills*(round+1) + random.IntN(100))
		untilKilled(t, workers, p, &sent, target)
		slowest = max(slowest, p.start())
		for _, w := range workers {
			if err := w.check(); err != nil {
				t.Fatalf("after kill %d and %d requests: %v", round+1, sent.Load(), err)
			}
		}
	}
	objects := 0
	for _, w := range workers {
		objects += len(w.objects)
	}
	t.Logf("%d requests, %d kills, %d objects left, slowest restart %s", sent.Load(), crashKills, objects, slowest)
}

// untilKilled lets the workers send requests until there were target of all, kills the
// program while they are at it, and returns when they have noticed.
func untilKilled(t *testing.T, workers []*worker, p *program, sent *atomic.Int64, target int64) {
	t.Helper()
	var group sync.WaitGroup
	reached := make(chan struct{})
	var once sync.Once
	for _, w := range workers {
		group.Go(func() {
			for {
				if sent.Add(1) >= target {
					once.Do(func() { close(reached) })
				}
				if err := w.step(); err != nil {
					if !errors.Is(err, errLost) {
						t.Error(err)
						once.Do(func() { close(reached) })
					}
					return
				}
			}
		})
	}
	<-reached
	p.kill()
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
