// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/refresh"
	"github.com/keycardai/keycard-operator/internal/site"
	"github.com/keycardai/keycard-operator/internal/subject"
	"github.com/keycardai/keycard-operator/internal/target"
	"github.com/keycardai/keycard-operator/internal/tokensecret"
)

// scope is what one look knows of one binding.
type scope struct {
	// binding is a copy whose status is filled; before is the object as the server has it, and found its status when the look
	// began.
	binding, before *v1alpha1.ConfluenceTokenBinding
	found           v1alpha1.ConfluenceTokenBindingStatus
	memory          *memory
	// output is the output Secret, and secret what its metadata says.
	output tokensecret.Output
	secret tokensecret.Secret
	// want are the fingerprints of what is wanted; want.Exchange is "" while the KeycardResource can't be used.
	want tokensecret.Wanted
	// target is what to exchange for; its Install is nil while the KeycardResource can't be used.
	target target.Target
	// inputs are the Secrets that an attempt depends on; nil until they are known.
	inputs *subject.Inputs
}

func (c *Controller) scope(cached *v1alpha1.ConfluenceTokenBinding) *scope {
	m := c.memories.of(client.ObjectKeyFromObject(cached))
	b := m.binding.Newest(cached)
	s := &scope{binding: b.DeepCopy(), before: b, found: b.Status, memory: m, want: tokensecret.Wants(&b.Spec)}
	s.output = c.secrets.Output(b, &m.secret)
	if !s.reported() {
		s.binding.Status.User = "" // it was found for another spec
	}
	return s
}

func (s *scope) key() types.NamespacedName { return client.ObjectKeyFromObject(s.binding) }

func (s *scope) suspended() bool { return ptr.Deref(s.binding.Spec.Suspend, false) }

// reported reports whether status speaks of this spec already.
func (s *scope) reported() bool { return s.before.Status.ObservedGeneration == s.binding.Generation }

// gather finds out all that the next step depends on, without a remote call.
func (c *Controller) gather(ctx context.Context, s *scope) refresh.Event {
	steps := []struct {
		at refresh.Stage
		do func(context.Context, *scope) error
	}{
		{refresh.StageSecret, c.readSecret},
		{refresh.StageInstall, c.readInstall},
		{refresh.StageToken, c.readInputs},
	}
	for _, step := range steps {
		if err := step.do(ctx, s); err != nil {
			return refresh.Event{Kind: refresh.Prevented, Problem: asProblem(ctx, err), Stage: step.at}
		}
		if s.suspended() {
			break
		}
	}
	return refresh.Event{Kind: refresh.Looked}
}

// asProblem returns what of an error may be shown.
func asProblem(ctx context.Context, err error) *problem.Problem {
	p := problem.Of(err)
	if p != nil && p.Reason == v1alpha1.ReasonClusterError {
		log.FromContext(ctx).Error(err, "the cluster failed")
	}
	return p
}

// readSecret reads the output Secret's metadata, and refuses one that is another owner's.
func (c *Controller) readSecret(ctx context.Context, s *scope) (err error) {
	s.secret, err = s.output.Read(ctx)
	if held := s.secret.Held; held != nil {
		// The write of a status can fail, and a status can be lost: the Secret remembers the last request that led to a token.
		st := &s.binding.Status
		if held.Request != "" && (st.LastRefreshRequest == "" || held.Request == s.binding.RefreshRequest()) {
			st.LastRefreshRequest = held.Request
		}
	}
	return err
}

// readInstall finds the KeycardResource and checks that this namespace may use it.
func (c *Controller) readInstall(ctx context.Context, s *scope) (err error) {
	if s.target, err = c.Targets.Of(ctx, s.binding); err == nil {
		s.want = s.want.Of(s.target.Issuer, s.target.Resource, s.target.Scopes)
	}
	return err
}

// readInputs notes the versions of the Secrets that an attempt reads, and reads those whose values it takes to know whether the
// last attempt had the same.
func (c *Controller) readInputs(ctx context.Context, s *scope) error {
	inputs, err := c.subjects.Inputs(ctx, s.binding, s.secret.Held, &s.memory.subject)
	if err != nil {
		return err
	}
	s.inputs = inputs
	state := c.memories.state(s.memory)
	ofClient, ofSubject := state.Unsure(c.facts(s).Inputs)
	if err := inputs.Read(ctx, ofClient, ofSubject); err != nil {
		return err
	}
	return inputs.Compare(ctx, !state.Pausing(c.facts(s)))
}

// facts are what the next step depends on.
func (c *Controller) facts(s *scope) refresh.Facts {
	b := s.binding
	f := refresh.Facts{
		Now: c.Clock.Now(), Seed: string(b.UID), Before: refreshBefore(b),
		Installed: s.target.Install != nil, Suspended: s.suspended(),
		RemoveExpired: b.Spec.Secret.OnExpiry == v1alpha1.RemoveExpired,
		Layout:        s.want.Layout, Secret: b.Spec.Secret.Name, Request: s.request(),
		Reported: s.reported(), HadToken: s.found.ExpiresAt != nil,
	}
	if held := s.secret.Held; held != nil {
		f.Held = &refresh.Held{
			Life: held.Life, Fits: held.MadeFor(s.want), Intact: s.secret.Intact,
			Layout: held.Made.Layout == s.want.Layout, Dressed: s.secret.Dressed,
			Refused: b.Spec.Verify == v1alpha1.VerifyProbe && site.Verdict(held.Verdict).Refuses(),
		}
	}
	if s.inputs != nil {
		install := s.target.Install
		f.SubjectRenewed = s.inputs.Renewed()
		f.Inputs = refresh.Inputs{
			Spec: fmt.Sprintf("%s/%d/%s|%s|%s/%d", install.UID, install.Generation, install.Status.ResourceID,
				s.want.Exchange, b.UID, b.Generation),
			Versions: s.inputs.Versions(), Values: s.inputs.Values(),
			Progress: s.target.Progress, Session: b.Spec.Subject.RefreshTokenSecretRef != nil,
		}
	}
	return f
}

// refreshBefore is how long before the expiry the user wants the refresh; 0 means the usual time.
func refreshBefore(b *v1alpha1.ConfluenceTokenBinding) time.Duration {
	if b.Spec.Refresh == nil {
		return 0
	}
	before, err := time.ParseDuration(string(b.Spec.Refresh.Before))
	if err != nil {
		return 0 // the schema admits no such value
	}
	return before
}

// request is the value of a request for a new token that was not honoured yet; "" when there is none.
func (s *scope) request() string {
	if asked := s.binding.RefreshRequest(); asked != s.binding.Status.LastRefreshRequest {
		return asked
	}
	return ""
}
