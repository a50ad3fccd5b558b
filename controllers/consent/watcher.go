// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package consent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

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

// Watcher looks for consent that people give elsewhere than on the page.
type Watcher struct {
	client   client.Reader
	live     client.Reader
	zones    *keycard.Pool
	paused   func(zone string) bool
	clock    clock.PassiveClock
	bindings Bindings
	every    time.Duration

	grants grants
}

// NewWatcher makes a watcher that has not looked yet.
func NewWatcher(d Deps) *Watcher {
	return &Watcher{
		client: d.Client, live: d.Live, zones: d.Zones, paused: d.Paused, clock: d.Clock, bindings: d.Bindings,
		every: cmp.Or(d.LookEvery, defaultTick),
	}
}

// Start looks again and again until ctx ends. The manager runs it where the controllers run: on the leader only.
func (w *Watcher) Start(ctx context.Context) error {
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			w.Look(ctx)
		}
	}
}

// Look lists the grants of the installs whose turn it is, and wakes the bindings whose users have consented.
func (w *Watcher) Look(ctx context.Context) {
	all, err := waiting(ctx, w.client)
	if err != nil {
		log.FromContext(ctx).Error(err, "looking for consent")
		return
	}
	byInstall := map[types.NamespacedName][]waiter{}
	for _, b := range all {
		byInstall[b.install] = append(byInstall[b.install], b)
	}
	w.grants = w.grants.of(byInstall)
	var (
		group errgroup.Group
		mu    sync.Mutex
	)
	group.SetLimit(looksAtOnce)
	for install, waiters := range byInstall {
		group.Go(func() error {
			users := w.newlyConsented(ctx, install, w.grants[install])
			mu.Lock()
			defer mu.Unlock()
			for _, b := range waiters {
				if slices.ContainsFunc(users, b.isUser) {
					w.bindings.Consented(b.key)
				}
			}
			return nil
		})
	}
	_ = group.Wait() // no look gives an error
}

// of keeps what is known of the installs that somebody waits for.
func (g grants) of(waiting map[types.NamespacedName][]waiter) grants {
	kept := grants{}
	for install := range waiting {
		kept[install] = cmp.Or(g[install], &installGrants{})
	}
	return kept
}

// isUser reports whether a user of the zone is who the binding names.
func (w waiter) isUser(u keycard.User) bool {
	return w.user == u.Identifier || w.user == u.ID || strings.EqualFold(w.user, u.Email)
}

// newlyConsented gives the users with new grants for an install, when it is time to look.
func (w *Watcher) newlyConsented(ctx context.Context, key types.NamespacedName, known *installGrants) []keycard.User {
	begun := w.clock.Now()
	var install v1alpha1.KeycardResource
	if begun.Before(known.next) || w.client.Get(ctx, key, &install) != nil || install.Status.ResourceID == "" || w.paused(install.Spec.Zone.IssuerURL()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(keycard.WithCaller(ctx, keycard.Caller{Object: "KeycardResource " + key.String()}), lookTimeout)
	defer cancel()
	users, err := w.lookAt(ctx, &install, known)
	now := w.clock.Now()
	if err == nil {
		// A zone with very many grants is not listed all the time.
		known.failures, known.next = 0, now.Add(max(lookEvery, 5*now.Sub(begun)))
		return users
	}
	if known.failures == 0 {
		log.FromContext(ctx).Info("the grants of the zone can't be listed; bindings that wait for consent are tried again every ten minutes",
			"install", key, "cause", problem.Of(err).Message())
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
func (w *Watcher) lookAt(ctx context.Context, install *v1alpha1.KeycardResource, known *installGrants) (users []keycard.User, err error) {
	zone := &install.Spec.Zone
	management, _, err := zones.Management(ctx, w.live, w.zones, install.Namespace, zone)
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
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", g.ID, g.CreatedAt, slices.Sorted(slices.Values(g.Scopes))))
	return hex.EncodeToString(sum[:16])
}
