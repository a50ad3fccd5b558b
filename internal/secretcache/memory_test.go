// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package secretcache

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"unique"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
)

const bindings, others = 1_000, 10_000

// BenchmarkMemory reports what a Secret that no binding owns takes of the heap once all are listed, beside 1,000 that bindings own,
// and how much the heap grows at most until then: with this store, with an informer as controller-runtime makes it and a transform
// that keeps the same, and with one that keeps all metadata.
func BenchmarkMemory(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as the operator sets it
	for name, follow := range map[string]func(*testing.B, *secrets) (count func() int){
		"own": ofOurs, "trimmed": ofInformer(least), "whole": ofInformer(func(o any) (any, error) { return o, nil }),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				few, _ := listed(b, follow, 0)
				many, most := listed(b, follow, others)
				b.ReportMetric(float64(many-few)/others, "B/other")
				b.ReportMetric(float64(most)/1e6, "MB-at-most")
			}
		})
	}
}

// listed has all Secrets listed. It returns by how much the heap has grown after, and by how much at most meanwhile.
func listed(b *testing.B, follow func(*testing.B, *secrets) func() int, others int) (after, most int64) {
	b.Helper()
	before := live()
	source := &secrets{others: others}
	count := follow(b, source)
	most = max(source.most, allocated()) - before
	after = live() - before
	if n := count(); n != bindings+others {
		b.Fatalf("it has %d Secrets", n)
	}
	return after, most
}

func ofOurs(b *testing.B, source *secrets) func() int {
	b.Helper()
	c := newCache()
	c.scopes = []*scope{{cache: c, source: source, synced: make(chan struct{})}}
	go func() { _ = c.Start(b.Context()) }()
	if err := c.WaitForSync(b.Context()); err != nil {
		b.Fatal(err)
	}
	return func() int { return len(c.known) }
}

func ofInformer(transform toolscache.TransformFunc) func(*testing.B, *secrets) func() int {
	return func(b *testing.B, source *secrets) func() int {
		b.Helper()
		informer := toolscache.NewSharedIndexInformer(source, &metav1.PartialObjectMetadata{}, 0, toolscache.Indexers{
			toolscache.NamespaceIndex: toolscache.MetaNamespaceIndexFunc,
		})
		if err := informer.SetTransform(transform); err != nil {
			b.Fatal(err)
		}
		handled := make([]toolscache.InformerSynced, 0, 2)
		for range 2 { // the controllers that watch Secrets
			h, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{})
			if err != nil {
				b.Fatal(err)
			}
			handled = append(handled, h.HasSynced)
		}
		go informer.RunWithContext(b.Context())
		if !toolscache.WaitForCacheSync(b.Context().Done(), handled...) {
			b.Fatal("the Secrets are not listed")
		}
		return func() int { return len(informer.GetStore().ListKeys()) }
	}
}

// least keeps of a Secret in an informer what this store would.
func least(o any) (any, error) {
	m, err := metadataOf(o)
	if err != nil || owned(m) {
		return o, err
	}
	controller := metav1.GetControllerOfNoCopy(m)
	m.ObjectMeta = metav1.ObjectMeta{
		Namespace: unique.Make(m.Namespace).Value(), Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		ManagedFields: sessions(m.ManagedFields),
	}
	if controller != nil {
		m.OwnerReferences = []metav1.OwnerReference{{Kind: unique.Make(controller.Kind).Value(), Name: controller.Name, Controller: new(true)}}
	}
	return m, nil
}

// secrets is a server of Secrets that never change.
type secrets struct {
	others int
	most   int64
}

func (*secrets) List(metav1.ListOptions) (apiruntime.Object, error) {
	return nil, fmt.Errorf("the reflector lists by a watch")
}

// Watch sends all Secrets, as the reflector asks for them by sendInitialEvents.
func (s *secrets) Watch(metav1.ListOptions) (watch.Interface, error) {
	events := make(chan watch.Event)
	w := watch.NewProxyWatcher(events)
	go func() {
		for i := range bindings + s.others {
			if i%500 == 0 {
				s.most = max(s.most, allocated())
			}
			select {
			case events <- watch.Event{Type: watch.Added, Object: sent(i)}:
			case <-w.StopChan():
				return
			}
		}
		end := &metav1.PartialObjectMetadata{}
		end.ResourceVersion, end.Annotations = "1", map[string]string{metav1.InitialEventsAnnotationKey: "true"}
		events <- watch.Event{Type: watch.Bookmark, Object: end}
	}()
	return w, nil
}

// sent is a Secret as it arrives, in memory of its own. The first ones are of bindings; of the others every second has a controller.
func sent(i int) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: fmt.Sprintf("team-%02d", i%50), Name: fmt.Sprintf("certificate-of-some-service-%05d", i),
		UID: types.UID(fmt.Sprintf("4f9d3c52-6a0e-4b7e-8f43-0000000%05d", i)), ResourceVersion: fmt.Sprint(1_000_000 + i), CreationTimestamp: metav1.Now(),
		Labels:      map[string]string{"app.kubernetes.io/managed-by": "someone", "app.kubernetes.io/name": "some-service", "controller.cert-manager.io/fao": "true"},
		Annotations: map[string]string{"cert-manager.io/alt-names": strings.Repeat("some-service.example.com,", 12), "cert-manager.io/issuer-kind": "ClusterIssuer"},
	}}
	now := metav1.Now()
	m.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "cert-manager-certificates-issuing", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1", Time: &now, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:tls.crt":{},"f:tls.key":{}},"f:metadata":{"f:annotations":{` + strings.Repeat(`"f:cert-manager.io/some-annotation":{},`, 18) + `"f:x":{}}}}`),
	}}
	if i%2 == 0 {
		m.OwnerReferences = []metav1.OwnerReference{{APIVersion: "cert-manager.io/v1", Kind: "Certificate", Name: m.Name, UID: m.UID, Controller: new(true)}}
	}
	if i < bindings {
		m.Labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	}
	raw, err := m.Marshal()
	if err != nil {
		panic(err)
	}
	arrived := &metav1.PartialObjectMetadata{}
	if err := arrived.Unmarshal(raw); err != nil {
		panic(err)
	}
	return arrived
}

func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //#nosec G115 -- it is in memory
}

// live is what is in use of the heap.
func live() int64 {
	runtime.GC()
	runtime.GC()
	return allocated()
}
