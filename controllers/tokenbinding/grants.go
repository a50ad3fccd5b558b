// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package tokenbinding

import (
	"cmp"
	"context"
	"crypto/sha256"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
	"github.com/keycardai/keycard-operator/internal/zones"
)

// People consent in other places than the operator's page too: in another application, or from their own machine. An exchange
// would tell, and each one that is refused is an entry in the zone's audit log. So while bindings wait for consent, the grants
// of the zone are listed instead, and a binding is tried again when its user has a new one.

const (
	// lookEvery is how often the grants are listed for an install that somebody waits for, and lookSlowest how rarely while
	// that fails.
	lookEvery, lookSlowest = 15 * time.Second, 10 * time.Minute
	// lookTimeout bounds one list with its look-ups, and looksAtOnce how many are under way.
	lookTimeout, looksAtOnce = 15 * time.Second, 4
	// defaultTick is how often it is asked whether a list is due.
	defaultTick = 5 * time.Second
	// usersPerLook bounds how many users of new grants are looked up at once; the others are next time.
	usersPerLook = 20
)

// grants is what is known of the grants of installs that somebody waits for. It is used by one goroutine at a time.
type grants map[types.NamespacedName]*installGrants

type installGrants struct {
	// seen are the grants whose users were told; nil before the first look.
	seen map[string]bool
	// next is when to look again, and failures counts looks in a row that failed.
	next     time.Time
	failures int
}

// waiter is a binding that waits for the consent of a user to an install.
type waiter struct {
	key, install types.NamespacedName
	user         string
}

// waitingForConsent lists the bindings that wait for the consent of a user that they name.
func (r *Reconciler) waitingForConsent(ctx context.Context) (list []waiter) {
	for _, key := range r.attempts.withoutConsent() {
		var b v1alpha1.ConfluenceTokenBinding
		if err := r.Client.Get(ctx, key, &b); err != nil || b.Spec.Subject.User == "" || ptr.Deref(b.Spec.Suspend, false) {
			continue
		}
		list = append(list, waiter{key: key, install: b.ResourceKey(), user: b.Spec.Subject.User})
	}
	return list
}

// watchConsent looks for consent as long as the controller lives: only the leader does.
func (r *Reconciler) watchConsent(ctx context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	go r.every(ctx, cmp.Or(r.WatchEvery, defaultTick), func() {
		for _, key := range r.LookForConsent(ctx) {
			queue.Add(reconcile.Request{NamespacedName: key})
		}
	})
	return nil
}

// LookForConsent lists the grants of the installs whose turn it is, and gives the bindings that are to be tried again because
// their users have consented.
func (r *Reconciler) LookForConsent(ctx context.Context) (woken []types.NamespacedName) {
	waiting := map[types.NamespacedName][]waiter{}
	for _, w := range r.waitingForConsent(ctx) {
		waiting[w.install] = append(waiting[w.install], w)
	}
	r.grants = r.grants.of(waiting)
	var (
		group errgroup.Group
		mu    sync.Mutex
	)
	group.SetLimit(looksAtOnce)
	for install, waiters := range waiting {
		group.Go(func() error {
			users := r.newlyConsented(ctx, install, r.grants[install])
			mu.Lock()
			defer mu.Unlock()
			for _, w := range waiters {
				if slices.ContainsFunc(users, w.isUser) && r.attempts.consented(w.key) {
					woken = append(woken, w.key)
				}
			}
			return nil
		})
	}
	_ = group.Wait() // no look gives an error
	return woken
}

// of keeps what is known of the installs that somebody waits for.
func (g grants) of(waiting map[types.NamespacedName][]waiter) grants {
	kept := grants{}
	for install := range waiting {
		kept[install] = cmp.Or(g[install], &installGrants{})
	}
	return kept
}

// isUser tells whether a user of the zone is who the binding names.
func (w waiter) isUser(u keycard.User) bool {
	return w.user == u.Identifier || w.user == u.ID || strings.EqualFold(w.user, u.Email)
}

// newlyConsented gives the users with new grants for an install, when it is time to look.
func (r *Reconciler) newlyConsented(ctx context.Context, key types.NamespacedName, known *installGrants) []keycard.User {
	begun := r.Clock.Now()
	var install v1alpha1.KeycardResource
	if begun.Before(known.next) || r.Client.Get(ctx, key, &install) != nil || install.Status.ResourceID == "" || r.Gates.Paused(install.Spec.Zone.IssuerURL()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(keycard.WithCaller(ctx, keycard.Caller{Object: "KeycardResource " + key.String()}), lookTimeout)
	defer cancel()
	users, err := r.lookAt(ctx, &install, known)
	now := r.Clock.Now()
	if err == nil {
		// A zone with very many grants is not listed all the time.
		known.failures, known.next = 0, now.Add(max(lookEvery, 5*now.Sub(begun)))
		return users
	}
	if known.failures == 0 {
		log.FromContext(ctx).Info("the grants of the zone can't be listed; bindings that wait for consent are tried again every ten minutes",
			"install", key, "cause", asProblem(ctx, problem.Remote(err)).Message)
	}
	known.failures++
	pause := min(lookEvery<<min(known.failures, 10), lookSlowest)
	if remote, ok := keycard.AsError(err); ok {
		pause = max(pause, remote.RetryAfter)
	}
	known.next = now.Add(pause)
	return users
}

// lookAt lists the active grants of an install, and gives the users of those that are new. Which were there before anybody
// waited is not known: at the first look the newest count as new.
func (r *Reconciler) lookAt(ctx context.Context, install *v1alpha1.KeycardResource, known *installGrants) (users []keycard.User, err error) {
	zone := &install.Spec.Zone
	management, _, err := zones.Management(ctx, r.Live, r.Zones, install.Namespace, zone)
	if err != nil {
		return nil, err
	}
	management = management.ReadOnly()
	list, err := management.ListGrants(ctx, zone.ID, keycard.GrantFilter{ResourceID: install.Status.ResourceID, Status: keycard.GrantActive})
	if err != nil {
		return nil, err
	}
	fresh, seen := known.compare(list)
	known.seen = seen
	for _, grant := range fresh {
		user, err := management.GetUser(ctx, zone.ID, grant.UserID)
		if err != nil && !keycard.IsNotFound(err) {
			return users, err
		}
		seen[identityOf(grant)] = true
		if err == nil {
			users = append(users, user)
		}
	}
	return users, nil
}

// compare picks the new grants whose users are to be looked up now, the newest first, and gives those that need no look any
// more. A grant that was not active in between counts as new.
func (g *installGrants) compare(list []keycard.Grant) (fresh []keycard.Grant, seen map[string]bool) {
	seen = map[string]bool{}
	for _, grant := range list {
		if id := identityOf(grant); g.seen[id] {
			seen[id] = true
		} else {
			fresh = append(fresh, grant)
		}
	}
	slices.SortStableFunc(fresh, func(a, b keycard.Grant) int { return strings.Compare(b.UpdatedAt, a.UpdatedAt) })
	if len(fresh) <= usersPerLook {
		return fresh, seen
	}
	if g.seen == nil {
		for _, grant := range fresh[usersPerLook:] {
			seen[identityOf(grant)] = true
		}
	}
	return fresh[:usersPerLook], seen
}

// identityOf is what makes a grant another one. Its refreshes do not. It is kept, so its length is not the server's to choose.
func identityOf(g keycard.Grant) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{g.ID, g.CreatedAt}, slices.Sorted(slices.Values(g.Scopes))...), "\n")))
	return string(sum[:])
}
