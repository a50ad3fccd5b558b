// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package subject

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// secrets are those of a cluster by name: their metadata, and their values.
type secrets struct {
	client.Client
	m     map[string]*corev1.Secret
	reads int // of values
	down  error
}

func (s *secrets) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	stored, ok := s.m[key.Name]
	if s.down != nil {
		return s.down
	}
	if !ok {
		return apierrors.NewNotFound(corev1.Resource("secrets"), key.Name)
	}
	switch o := o.(type) {
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = stored.ObjectMeta
	case *corev1.Secret:
		s.reads++
		*o = *stored
	}
	return nil
}

func secret(name, version string, data map[string]string) *corev1.Secret {
	s := &corev1.Secret{Data: map[string][]byte{}}
	s.Namespace, s.Name, s.UID, s.ResourceVersion = "ns", name, types.UID(name), version
	for k, v := range data {
		s.Data[k] = []byte(v)
	}
	return s
}

// fixture is a binding with a client secret and an access token.
func fixture() (*secrets, *Subjects, *v1alpha1.ConfluenceTokenBinding) {
	c := &secrets{m: map[string]*corev1.Secret{
		"app":   secret("app", "1", map[string]string{"client_id": "id", "client_secret": "canary"}),
		"alice": secret("alice", "1", map[string]string{"token": "hers", "session": "hers too"}),
	}}
	b := &v1alpha1.ConfluenceTokenBinding{}
	b.Namespace, b.Name, b.UID = "ns", "reports", "its-uid"
	b.Spec.Application.ClientSecretRef = &v1alpha1.LocalSecretReference{Name: "app"}
	b.Spec.Subject.AccessTokenSecretRef = &v1alpha1.SecretKeyReference{Name: "alice", Key: "token"}
	return c, New(Deps{Client: c, Live: c, Clock: clocktesting.NewFakeClock(metav1.Now().Time)}), b
}

func inputs(t *testing.T, s *Subjects, b *v1alpha1.ConfluenceTokenBinding, held *tokensecret.Held, m *Memory) *Inputs {
	t.Helper()
	i, err := s.Inputs(t.Context(), b, held, m)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// heldFor is a token that the subject's Secret in that version was exchanged for.
func heldFor(version, hash string) *tokensecret.Held {
	return &tokensecret.Held{Note: tokensecret.Note{SubjectVersion: version, SubjectHash: hash}}
}

// Values are read when they are asked for, once, and seen as fingerprints of the binding's own only.
func TestValuesAreFingerprints(t *testing.T) {
	c, s, b := fixture()
	i := inputs(t, s, b, nil, &Memory{})
	if got, want := i.Versions(), (refresh.Secrets{Client: "app/1", Subject: "alice/1"}); got != want || i.Values() != (refresh.Secrets{}) || c.reads != 0 {
		t.Fatalf("versions %v, values %v after %d reads", got, i.Values(), c.reads)
	}
	for range 2 {
		if err := i.Read(t.Context(), true, true); err != nil {
			t.Fatal(err)
		}
	}
	if c.reads != 2 {
		t.Errorf("%d reads", c.reads)
	}
	first := i.Values()
	if len(first.Client) != 32 || len(first.Subject) != 32 || i.SubjectHash() != first.Subject {
		t.Errorf("fingerprints %v", first)
	}
	again := inputs(t, s, b, nil, &Memory{})
	if err := again.Read(t.Context(), true, true); err != nil || again.Values() != first {
		t.Errorf("the same values have other fingerprints: %v, %v", again.Values(), err)
	}
	b.UID = "other"
	other := inputs(t, s, b, nil, &Memory{})
	if err := other.Read(t.Context(), true, true); err != nil || other.Values().Client == first.Client || other.Values().Subject == first.Subject {
		t.Errorf("another binding has the same fingerprints: %v", err)
	}
}

// What can't be used has no fingerprint. A cluster that can't be asked says nothing.
func TestReadOfWhatIsNotThere(t *testing.T) {
	c, s, b := fixture()
	i := inputs(t, s, b, nil, &Memory{})
	delete(c.m, "alice")
	c.m["app"].Data = nil
	if err := i.Read(t.Context(), true, true); err != nil || i.Values() != (refresh.Secrets{}) {
		t.Errorf("%v, %v", i.Values(), err)
	}
	c.down = errors.New("down")
	if err := i.Read(t.Context(), true, false); !errors.Is(err, c.down) {
		t.Errorf("the credential: %v", err)
	}
	if err := i.Read(t.Context(), false, true); !errors.Is(err, c.down) {
		t.Errorf("the token: %v", err)
	}
	if _, err := s.Inputs(t.Context(), b, nil, &Memory{}); !errors.Is(err, c.down) {
		t.Errorf("the metadata: %v", err)
	}
}

func TestRenewed(t *testing.T) {
	_, s, b := fixture()
	probe := inputs(t, s, b, nil, &Memory{})
	if err := probe.Read(t.Context(), false, true); err != nil {
		t.Fatal(err)
	}
	hash := probe.SubjectHash()
	for name, tc := range map[string]struct {
		held    *tokensecret.Held
		look    bool
		renewed bool
		reads   int
	}{
		"no token yet":                  {nil, true, false, 0},
		"the same version":              {heldFor("alice/1", hash), true, false, 0},
		"another version, same token":   {heldFor("alice/0", hash), true, false, 1},
		"another version, not looked":   {heldFor("alice/0", hash), false, true, 0},
		"another token":                 {heldFor("alice/0", "other"), true, true, 1},
		"of an operator that knew less": {heldFor("alice/0", ""), true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, s, b := fixture()
			var m Memory
			i := inputs(t, s, b, tc.held, &m)
			if err := i.Compare(t.Context(), tc.look); err != nil || i.Renewed() != tc.renewed || c.reads != tc.reads {
				t.Errorf("renewed: %v after %d reads, %v", i.Renewed(), c.reads, err)
			}
			if tc.renewed || tc.reads == 0 {
				return
			}
			// Each version is looked at once.
			again := inputs(t, s, b, tc.held, &m)
			if err := again.Compare(t.Context(), false); err != nil || again.Renewed() || c.reads != tc.reads {
				t.Errorf("the next time: renewed: %v after %d reads, %v", again.Renewed(), c.reads, err)
			}
			c.m["alice"].ResourceVersion = "2"
			next := inputs(t, s, b, tc.held, &m)
			if err := next.Compare(t.Context(), true); err != nil || next.Renewed() || c.reads != tc.reads+1 {
				t.Errorf("the next version: renewed: %v after %d reads, %v", next.Renewed(), c.reads, err)
			}
		})
	}
	t.Run("it is gone", func(t *testing.T) {
		c, s, b := fixture()
		delete(c.m, "alice")
		i := inputs(t, s, b, heldFor("alice/1", "other"), &Memory{})
		if err := i.Compare(t.Context(), true); err != nil || i.Renewed() || i.SubjectVersion() != "" {
			t.Errorf("renewed: %v, %v", i.Renewed(), err)
		}
	})
	t.Run("it can't be read", func(t *testing.T) {
		c, s, b := fixture()
		i := inputs(t, s, b, heldFor("alice/0", "other"), &Memory{})
		c.m["alice"].Data = nil
		if err := i.Compare(t.Context(), true); err == nil {
			t.Error("says nothing")
		}
	})
}

// What the operator writes into a session's Secret is no other version. What anyone else writes is.
func TestOwnWriteIsNoVersion(t *testing.T) {
	c, s, b := fixture()
	b.Spec.Subject = v1alpha1.Subject{RefreshTokenSecretRef: &v1alpha1.SecretKeyReference{Name: "alice", Key: "session"}}
	wrote := func(manager, key string) {
		c.m["alice"].ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate,
			FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:data":{"f:` + key + `":{}}}`)}, //nolint:staticcheck // a fixture
		}}
	}
	held := heldFor("alice/0", "")
	for name, tc := range map[string]struct {
		manager, key string
		held         *tokensecret.Held
		version      string // of the Secret, and of the subject
		subject      string
	}{
		"by the operator":                  {v1alpha1.SessionFieldManager, "session", held, "alice/renewed", "alice/0"},
		"by the operator, without a token": {v1alpha1.SessionFieldManager, "session", nil, "alice/renewed", ""},
		"by the operator, for another key": {v1alpha1.SessionFieldManager, "token", held, "alice/1", "alice/1"},
		"by someone else":                  {"kubectl", "session", held, "alice/1", "alice/1"},
	} {
		wrote(tc.manager, tc.key)
		i := inputs(t, s, b, tc.held, &Memory{})
		if i.Versions().Subject != tc.version || i.SubjectVersion() != tc.subject || i.Renewed() != (tc.version == "alice/1") {
			t.Errorf("%s: version %s, subject %s, renewed %v", name, i.Versions().Subject, i.SubjectVersion(), i.Renewed())
		}
	}
	i := inputs(t, s, b, held, &Memory{})
	if err := i.Read(t.Context(), false, true); err != nil || i.Values().Subject == "" || i.SubjectHash() != "" {
		t.Errorf("the session has the fingerprint %s, to be noted as %q: %v", i.Values().Subject, i.SubjectHash(), err)
	}
}

func TestSubjectOfABinding(t *testing.T) {
	_, s, b := fixture()
	var m Memory
	i := inputs(t, s, b, nil, &m)
	for name, tc := range map[string]struct {
		subject v1alpha1.Subject
		is      func(Subject) bool
	}{
		"user":        {v1alpha1.Subject{User: "alice"}, func(s Subject) bool { _, ok := s.(*Impersonation); return ok }},
		"token":       {v1alpha1.Subject{AccessTokenSecretRef: &v1alpha1.SecretKeyReference{}}, func(s Subject) bool { _, ok := s.(accessToken); return ok }},
		"session":     {v1alpha1.Subject{RefreshTokenSecretRef: &v1alpha1.SecretKeyReference{}}, func(s Subject) bool { _, ok := s.(sessionToken); return ok }},
		"application": {v1alpha1.Subject{Application: &v1alpha1.ApplicationSubject{}}, func(s Subject) bool { _, ok := s.(application); return ok }},
	} {
		s.sessions.use(&m, "https://zone", place{})
		b.Spec.Subject = tc.subject
		if !tc.is(i.Subject(Facts{})) {
			t.Errorf("%s: another subject", name)
		}
		if kept := m.session != nil; kept != (name == "session") {
			t.Errorf("%s: a session is kept: %v", name, kept)
		}
	}
}

// A person is known without a look-up by an identifier, by what was found before, or by what another binding found; but looked up
// anew after a refusal.
func TestPersonWithoutALookUp(t *testing.T) {
	_, s, b := fixture()
	install := &v1alpha1.KeycardResource{}
	install.UID, install.Generation = "install", 1
	of := func(user string, f Facts) Person {
		b.Spec.Subject = v1alpha1.Subject{User: user}
		f.Install = install
		return inputs(t, s, b, nil, &Memory{}).Subject(f).(*Impersonation).Person()
	}
	const email = "alice@example.com"
	found := Person{Identifier: "usr-1", Found: "usr-1"}
	if got := of("usr-9", Facts{}); got != (Person{Identifier: "usr-9"}) {
		t.Errorf("an identifier is %+v", got)
	}
	if got := of(email, Facts{}); got != (Person{}) {
		t.Errorf("an address that nobody looked up is %+v", got)
	}
	if got := of(email, Facts{Known: "usr-1"}); got != found {
		t.Errorf("what status remembers is %+v", got)
	}
	s.people.Add(address{"install", 1, email}, found, peopleFresh)
	if got := of(email, Facts{}); got != found {
		t.Errorf("what another binding found is %+v", got)
	}
	if got := of(email, Facts{Known: "usr-1", Refused: true}); got != (Person{}) {
		t.Errorf("after a refusal there is still %+v", got)
	}
	install.Generation = 2
	if got := of(email, Facts{}); got != (Person{}) {
		t.Errorf("what another spec of the install found is %+v", got)
	}
}
