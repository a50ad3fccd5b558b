// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package keycardresource

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/catalog"
	"github.com/keycardai/keycard-operator/internal/credentials"
	"github.com/keycardai/keycard-operator/internal/keycard"
)

// step names the condition that a problem belongs to.
type step string

const (
	stepCredentials  step = v1alpha1.ConditionCredentialsValid
	stepProvider     step = v1alpha1.ConditionProviderRegistered
	stepResource     step = v1alpha1.ConditionResourceRegistered
	stepApplications step = v1alpha1.ConditionApplicationsRegistered
	stepPolicies     step = v1alpha1.ConditionPoliciesApplied
	// stepPlan comes before all others; its problems are shown by ResourceRegistered.
	stepPlan step = "plan"
)

// scope is what one reconcile knows of one resource.
type scope struct {
	// resource is a copy whose status the steps fill; before is the object as the server has it, and found
	// its status when the reconcile began.
	resource, before *v1alpha1.KeycardResource
	found            v1alpha1.KeycardResourceStatus
	now              time.Time
	clusterID        string

	// entry and scopes are what to install.
	entry  catalog.Entry
	scopes []string
	// zone is the management client, serviceAccount its credential, app the upstream's OAuth app.
	zone           *keycard.ManagementClient
	serviceAccount credentials.Client
	app            credentials.Client
	// zoneCreated is when the zone was made; the zero time when that is not known.
	zoneCreated time.Time
	// shared is true when the provider is somebody else's and used as it is, rotated when a changed OAuth app was
	// sent to it.
	shared, rotated bool
	// drift is what in the zone was not as the spec wants it.
	drift []drift
}

func newScope(resource *v1alpha1.KeycardResource, now time.Time, clusterID string) *scope {
	return &scope{resource: resource.DeepCopy(), before: resource, found: resource.Status, now: now, clusterID: clusterID}
}

func (s *scope) key() client.ObjectKey { return client.ObjectKeyFromObject(s.before) }

func (s *scope) zoneID() string { return s.resource.Spec.Zone.ID }

// settled tells whether the object was Ready for this generation when the reconcile began: what differs now was changed
// at the zone.
func (s *scope) settled() bool { return s.wasTrue(v1alpha1.ConditionReady) }

func (s *scope) suspended() bool { return ptr.Deref(s.resource.Spec.Suspend, false) }

func (s *scope) local(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: s.resource.Namespace, Name: name}
}

// appHash fingerprints the OAuth app's credentials as they were sent to a provider. The zone gives no
// secret back, so this is the only way to notice a change. It is keyed with the service account's
// secret, which is nowhere in the status, so that the client secret can't be guessed from it. It begins with the key's
// name, which a service account's client id is: each secret has its own.
func (s *scope) appHash(providerID string) string {
	name := sha256.Sum256([]byte(s.serviceAccount.ID))
	mac := hmac.New(sha256.New, []byte(s.serviceAccount.Secret.Reveal()))
	for _, part := range []string{"oauth-app/v1", providerID, s.app.ID, s.app.Secret.Reveal()} {
		_, _ = fmt.Fprintf(mac, "%d:%s,", len(part), part)
	}
	return hex.EncodeToString(name[:4]) + "-" + hex.EncodeToString(mac.Sum(nil)[:16])
}

// sameKey tells whether two hashes are keyed alike, so that they differ only when the OAuth app does.
func sameKey(a, b string) bool {
	keyA, _, _ := strings.Cut(a, "-")
	keyB, _, _ := strings.Cut(b, "-")
	return keyA == keyB
}

// failures counts failed reconciles in a row. The zero value is ready for use.
type failures struct {
	mu sync.Mutex
	m  map[types.NamespacedName]int
}

func (f *failures) count(key types.NamespacedName) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.m == nil {
		f.m = map[types.NamespacedName]int{}
	}
	f.m[key]++
	return f.m[key]
}

func (f *failures) forget(key types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.m, key)
}
