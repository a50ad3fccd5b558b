// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/test/testenv"
)

// api talks to a real apiserver with the CRDs installed, as an administrator.
var (
	api     client.Client
	cluster *testenv.ControlPlane
)

func TestMain(m *testing.M) {
	os.Exit(runSuite(m))
}

func runSuite(m *testing.M) int {
	var err error
	if cluster, err = testenv.Start(testenv.Options{CRDs: true}); err != nil {
		fmt.Fprintln(os.Stderr, "starting the control plane:", err)
		return 1
	}
	code := 1
	if err = prepare(); err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, "preparing the control plane:", err)
	}
	if err := cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the control plane:", err)
		return 1
	}
	return code
}

func prepare() error {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	var err error
	if api, err = client.New(cluster.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	return api.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "ns"}})
}

const resourceYAML = `
apiVersion: keycard.cloud/v1alpha1
kind: KeycardResource
metadata: {name: it, namespace: ns}
spec:
  zone: {id: zn-8f2c, serviceAccountSecretRef: {name: sa}}
  catalogEntry: confluence
  oauthAppSecretRef: {name: app}
`

const bindingYAML = `
apiVersion: keycard.cloud/v1alpha1
kind: ConfluenceTokenBinding
metadata: {name: it, namespace: ns}
spec:
  resourceRef: {name: confluence}
  application: {clientSecretRef: {name: app}}
  subject: {user: alice@example.com}
  secret: {name: token}
`

// row is one change of a valid object, and what the apiserver says to it.
type row struct {
	name string
	// path is the field, below the object; value is YAML, "" removes the field.
	path, value string
	// want is all that the apiserver says of the object's fields, see complaint; "" means accepted.
	want string
}

// object is a valid object, unstructured so that a row can give it anything.
func object(t *testing.T, base string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(base), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

func (r row) change(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	if r.path == "" {
		return
	}
	fields := strings.Split(r.path, ".")
	if r.value == "" {
		unstructured.RemoveNestedField(u.Object, fields...)
		return
	}
	var value any
	if err := yaml.Unmarshal([]byte(r.value), &value); err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(u.Object, value, fields...); err != nil {
		t.Fatal(err)
	}
}

// check compares what the apiserver says with all that is wanted of it, to the letter.
func (r row) check(t *testing.T, err error) {
	t.Helper()
	if got := complaint(err); got != r.want {
		t.Errorf("said\n  %s\nwant\n  %s", got, r.want)
	}
}

// stored creates an object under a name of its own, and deletes it after the test.
func stored(t *testing.T, name, base string) *unstructured.Unstructured {
	t.Helper()
	u := object(t, base)
	u.SetName(name)
	if err := api.Create(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Delete(context.Background(), u); err != nil {
			t.Error(err)
		}
	})
	return u
}

// complaint is what the apiserver says of the fields, one line each: path, kind of fault, message.
func complaint(err error) string {
	if err == nil {
		return ""
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return err.Error()
	}
	var lines []string
	for _, cause := range status.Status().Details.Causes {
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue // follows from another complaint
		}
		lines = append(lines, cause.Field+": "+cause.Message)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// What the apiserver says, in its own words.

func required(field string) string { return field + ": Required value" }

func tooLong(field string, limit int) string {
	return fmt.Sprintf("%s: Too long: may not be more than %d bytes", field, limit)
}

func empty(field string) string {
	return fmt.Sprintf(`%s: Invalid value: "": %[1]s in body should be at least 1 chars long`, field)
}

func tooMany(field string, n, limit int) string {
	return fmt.Sprintf("%s: Too many: %d: must have at most %d items", field, n, limit)
}

func noItems(field string) string {
	return fmt.Sprintf("%s: Invalid value: 0: %[1]s in body should have at least 1 items", field)
}

func noProperties(field string) string {
	return fmt.Sprintf("%s: Invalid value: 0: %[1]s in body should have at least 1 properties", field)
}

func unsupported(field, value, values string) string {
	return fmt.Sprintf("%s: Unsupported value: %q: supported values: %s", field, value, values)
}

func wrongType(field, want, got string) string {
	return fmt.Sprintf("%[1]s: Invalid value: %[2]q: %[1]s in body must be of type %[3]s: %[2]q", field, got, want)
}

// breaks is a rule of a string's own.
func breaks(field, value, message string) string {
	return field + ": Invalid value: " + strconv.Quote(value) + ": " + message
}

// breaksIn is a rule of a list or an object, which the apiserver does not repeat.
func breaksIn(field, message string) string { return field + ": Invalid value: " + message }

func long(n int) string { return strings.Repeat("a", n) }
