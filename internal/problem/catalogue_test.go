// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package problem_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keycardai/keycard-operator/api/v1alpha1"
	"github.com/keycardai/keycard-operator/internal/golden"
	"github.com/keycardai/keycard-operator/internal/keycard"
	"github.com/keycardai/keycard-operator/internal/problem"
)

// The names in the samples are short, so that the length of a message is that of its fixed text.
var (
	secret  = types.NamespacedName{Namespace: "a", Name: "s"}
	install = types.NamespacedName{Namespace: "a", Name: "k"}
	secrets = schema.GroupResource{Resource: "secrets"}

	refusal     = &keycard.Error{Op: "exchanging the token", Status: 400, Code: "invalid_grant", Description: "it is over", Class: keycard.Misconfigured}
	errNoAnswer = errors.New("connect: connection refused")
	errNoRight  = apierrors.NewForbidden(secrets, "s", errors.New("no"))
	quota       = apierrors.NewForbidden(secrets, "s", errors.New("exceeded quota: q, requested: secrets=1"))
	policy      = &apierrors.StatusError{ErrStatus: metav1.Status{
		Reason: metav1.StatusReasonInvalid, Code: 422, Message: `ValidatingAdmissionPolicy 'p' with binding 'b' denied request: hunter2`,
	}}
	webhook = apierrors.NewBadRequest(`admission webhook "w.example" denied the request: hunter2`)
	ending  = &apierrors.StatusError{ErrStatus: metav1.Status{
		Reason: metav1.StatusReasonForbidden, Code: 403, Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}},
	}}
	busy    = apierrors.NewTooManyRequests("later", 7)
	failing = problem.SecretNotFound(secret, "a token", "t")
)

// catalogue has samples of all messages, by the constructor.
var catalogue = map[string][]*problem.Problem{
	"ApplicationNotOurs":      {problem.ApplicationNotOurs("n", "i", "[keycard-operator c]")},
	"ApplicationsNotFound":    {problem.ApplicationsNotFound([]string{"i", "j"})},
	"AtPage":                  {problem.ConsentOfUser("u", "r", refusal).AtPage()},
	"CABundleInvalid":         {problem.CABundleInvalid(problem.Place{NamespacedName: secret, Kind: "ConfigMap", Key: "ca.crt"})},
	"CABundleKeyMissing":      {problem.CABundleKeyMissing(problem.Place{NamespacedName: secret, Kind: "Secret", Key: "ca.crt"})},
	"CABundleNotFound":        {problem.CABundleNotFound(problem.Place{NamespacedName: secret, Kind: "ConfigMap", Key: "ca.crt"})},
	"ConsentOfApplication":    {problem.ConsentOfApplication(refusal)},
	"ConsentOfTokenOwner":     {problem.ConsentOfTokenOwner("access token", "t", "s", "r", refusal), problem.ConsentOfTokenOwner("session", "t", "s", "r", refusal)},
	"ConsentOfUser":           {problem.ConsentOfUser("u", "r", refusal)},
	"Drifted":                 {problem.Drifted("provider: name")},
	"FromAtlassian":           each(problem.FromAtlassian, answers...),
	"FromCluster":             {problem.FromCluster(problem.Cluster("reading Secret a/s", errNoRight)), problem.FromCluster(problem.Cluster("reading Secret a/s", errNoAnswer)), problem.FromCluster(fmt.Errorf("x: %w", busy)), problem.FromCluster(errNoRight), problem.FromCluster(errNoAnswer)},
	"FromKeycard":             append(each(problem.FromKeycard, answers...), each(problem.FromKeycard, ofManagement(answers)...)...),
	"IdentifierInUse":         {problem.IdentifierInUse("n", "i", types.NamespacedName{}), problem.IdentifierInUse("n", "i", install)},
	"IdentifierOfPlatform":    {problem.IdentifierOfPlatform("i")},
	"InLine":                  {problem.InLine(problem.ZoneFull), problem.InLine(problem.ZonePaused), problem.InLine(problem.LookUpsFull)},
	"InUse":                   {problem.InUse([]string{"a/b", "a/c", "a/d", "a/e", "a/f", "a/g"}, 30*time.Second)},
	"LifetimeTooShort":        {problem.LifetimeTooShort(time.Minute, 2*time.Minute, 4*time.Minute)},
	"NoAccessibleSites":       {problem.NoAccessibleSites()},
	"NoNewerToken":            {problem.NoNewerToken()},
	"NoPolicySet":             {problem.NoPolicySet()},
	"NotAdmitted":             {problem.NotAdmitted(install, "b", false), problem.NotAdmitted(install, "b", true)},
	"NotRegistered":           {problem.NotRegistered("provider", "i")},
	"OAuthAppNotFound":        {problem.OAuthAppNotFound(secret, problem.OAuthApp{Provider: "p", DocsURL: "u", RedirectURI: "v", Scopes: []string{"x", "y"}})},
	"ObjectJustMade":          {problem.ObjectJustMade("provider")},
	"OddLifetime":             odd(),
	"Of":                      {problem.Of(fmt.Errorf("x: %w", failing)), problem.Of(fmt.Errorf("x: %w", refusal)), problem.Of(errNoAnswer)},
	"PolicyInvalid":           {problem.PolicyInvalid(0, "p", "unexpected token")},
	"PolicySetPending":        {problem.PolicySetPending()},
	"Probed":                  probed(),
	"ProviderOfOtherApp":      {problem.ProviderOfOtherApp(problem.Provider{Name: "n", ClientID: "c"}, "d"), problem.ProviderOfOtherApp(problem.Provider{Name: "n", ClientID: "c", Owner: install}, "d")},
	"ProviderWithoutSecret":   {problem.ProviderWithoutSecret(problem.Provider{Name: "n"}), problem.ProviderWithoutSecret(problem.Provider{Name: "n", Owner: install})},
	"RefreshFailing":          {problem.RefreshFailing(failing)},
	"Removing":                {problem.Removing(failing)},
	"ResourceEnding":          {problem.ResourceEnding(install)},
	"ResourceNotReady":        {problem.ResourceNotReady(install)},
	"RestartIncomplete":       restarts(),
	"RestartPending":          {problem.RestartPending()},
	"ScopeNotOffered":         {problem.ScopeNotOffered("k", []string{"x"}, []string{"y", "z"})},
	"ScopeReduced":            {problem.ScopeReduced([]string{"x", "y"})},
	"SecretChanging":          {problem.SecretChanging("s")},
	"SecretInEndingNamespace": {problem.SecretInEndingNamespace("s", 0), problem.SecretInEndingNamespace("s", time.Minute)},
	"SecretInvalid":           flawed(),
	"SecretJustMade":          {problem.SecretJustMade("s")},
	"SecretKeepsChanging":     {problem.SecretKeepsChanging("s", time.Minute)},
	"SecretNotFound":          {problem.SecretNotFound(secret, "the OAuth app's credential", "client_id", "client_secret"), failing},
	"SecretOfOlderBinding":    {problem.SecretOfOlderBinding("s", "b")},
	"SecretTaken":             {problem.SecretTaken("s", ""), problem.SecretTaken("s", "Deployment d")},
	"SecretUnreadable":        {problem.SecretUnreadable("s", errors.New("key token.json is missing"))},
	"SecretWriteFailed":       cluster(func(err error) *problem.Problem { return problem.SecretWriteFailed("s", err) }, apierrors.NewConflict(secrets, "s", errors.New("changed"))),
	"ServiceAccountTokenFailed": cluster(func(err error) *problem.Problem { return problem.ServiceAccountTokenFailed("a/w", err) },
		nil, apierrors.NewNotFound(secrets, "s"), ending),
	"SessionEnded":          {problem.SessionEnded(secret, "t", refusal)},
	"SessionImmutable":      {problem.SessionImmutable("s")},
	"SessionReplaced":       {problem.SessionReplaced(secret)},
	"SiteAmbiguous":         {problem.SiteAmbiguous([]string{"u", "v"})},
	"SiteNotAccessible":     {problem.SiteNotAccessible("w", []string{"u", "v"})},
	"SubjectTokenRejected":  {problem.SubjectTokenRejected(secret, "t", refusal)},
	"TokenExpired":          {problem.TokenExpired(failing)},
	"TokenExpiring":         {problem.TokenExpiring(failing)},
	"TokenUnsendable":       {problem.TokenUnsendable(errors.New("the access token is empty"))},
	"TooManyTokens":         {problem.TooManyTokens("the spec asks for another token", "s", time.Minute)},
	"UnknownCatalogEntry":   {problem.UnknownCatalogEntry("jira", []string{"confluence", "confluence-v2"})},
	"UnknownScope":          {problem.UnknownScope("confluence", []string{"x", "y"}, []string{"z"})},
	"UserAmbiguous":         {problem.UserAmbiguous("u", 2)},
	"UserIdentifierTooLong": {problem.UserIdentifierTooLong("u", 1024)},
	"UserUnknown":           {problem.UserUnknown("u")},
	"UserUnverified":        {problem.UserUnverified("u")},
	"WithCommand":           {problem.ConsentOfUser("u", "r", refusal).WithCommand("kubectl keycard consent b -n a")},
	"WithoutLookUp":         {problem.SessionImmutable("s").WithoutLookUp(failing)},
	"WorkloadNotRegistered": {problem.WorkloadNotRegistered("a/w", refusal)},
	"WorkloadRejected":      {problem.WorkloadRejected("a/w", refusal)},
	"ZoneBusy":              {problem.ZoneBusy()},
	"ZoneNotFound":          {problem.ZoneNotFound("z")},
}

// answers are one of each kind that the Keycard client tells apart.
var answers = []*keycard.Error{
	{Class: keycard.Transient, Status: 503},
	{Class: keycard.Throttled, Status: 429, RetryAfter: time.Minute},
	{Class: keycard.NeedsConsent, Code: "insufficient_authorization", Status: 400},
	{Class: keycard.Denied, Code: "access_denied", Status: 400},
	{Class: keycard.Denied, Status: 403},
	{Class: keycard.Misconfigured, Code: "invalid_client", Status: 400},
	{Class: keycard.Misconfigured, Status: 401},
	{Class: keycard.Misconfigured, Code: "invalid_target", Status: 400},
	{Class: keycard.Misconfigured, Status: 200},
	{Class: keycard.Misconfigured},
	{Class: keycard.Misconfigured, Err: errNoAnswer},
	{Class: keycard.Misconfigured, Err: keycard.ErrEndpointNotAllowed},
	{Class: keycard.Misconfigured, Err: keycard.ErrTokenUnusable},
}

func ofManagement(list []*keycard.Error) (signed []*keycard.Error) {
	for _, e := range list {
		other := *e
		other.Management = true
		signed = append(signed, &other)
	}
	return signed
}

func each(from func(error) (*problem.Problem, bool), list ...*keycard.Error) (all []*problem.Problem) {
	for _, e := range list {
		other := *e
		other.Op, other.Description = "op", "words"
		p, _ := from(fmt.Errorf("x: %w", &other))
		all = append(all, p)
	}
	return all
}

func cluster(from func(error) *problem.Problem, more ...error) (all []*problem.Problem) {
	for _, err := range append(more, errNoRight, quota, policy, webhook, apierrors.NewBadRequest("no"), busy, apierrors.NewInternalError(errNoAnswer), errNoAnswer) {
		all = append(all, from(err))
	}
	return all
}

func flawed() (all []*problem.Problem) {
	for flaw := problem.Missing; flaw <= problem.ControlCharacter; flaw++ {
		all = append(all, problem.SecretInvalid(secret, "t", flaw))
	}
	return all
}

func odd() (all []*problem.Problem) {
	const given, missing = keycard.AnnouncementGiven, keycard.AnnouncementMissing
	for _, l := range []keycard.Lifetime{
		{Source: keycard.LifetimeAssumed, Announced: missing},
		{Source: keycard.LifetimeAssumed, Announced: keycard.AnnouncementNotPositive},
		{Source: keycard.LifetimeAssumed, Announced: keycard.AnnouncementNotANumber},
		{Source: keycard.LifetimeAssumed, Announced: missing, ClockSkew: -time.Second},
		{Source: keycard.LifetimeAssumed},
		{Source: keycard.LifetimeFromClaim, Announced: missing},
		{Source: keycard.LifetimeCapped, Announced: given},
		{Source: keycard.LifetimeFromClaim, Announced: given, ClockSkew: -time.Minute},
		{Source: keycard.LifetimeFromExpiresIn, Announced: given, ClockSkew: -time.Minute},
		{Source: keycard.LifetimeFromExpiresIn, Announced: given, ClockSkew: time.Minute},
	} {
		all = append(all, problem.OddLifetime(l, 50*time.Minute))
	}
	return all
}

func probed() (all []*problem.Problem) {
	for _, reason := range []string{
		v1alpha1.ReasonTokenRefused, v1alpha1.ReasonScopeMismatch, v1alpha1.ReasonAccessForbidden, v1alpha1.ReasonSiteNotFound,
		v1alpha1.ReasonProbeInconclusive, v1alpha1.ReasonProbeUnavailable,
	} {
		all = append(all, problem.Probed(reason))
	}
	return all
}

func restarts() (all []*problem.Problem) {
	const permit = "kubectl create x"
	a, b, c := []string{"Deployment a"}, []string{"Deployment b"}, []string{"Deployment c"}
	for _, r := range []problem.Restart{
		{Missing: a},
		{Failed: b, Why: "Invalid"},
		{Failed: b, Why: "Timeout", Passes: true},
		{Forbidden: c, Permit: permit},
		{Missing: a, Failed: b, Why: "Timeout", Passes: true},
		{Missing: a, Forbidden: c, Permit: permit},
	} {
		all = append(all, problem.RestartIncomplete(r))
	}
	return all
}

var kinds = map[problem.Kind]string{
	problem.KindWaiting: "waiting", problem.KindBlocked: "blocked", problem.KindPerson: "person",
	problem.KindTransient: "transient", problem.KindThrottled: "throttled",
}

func TestCatalogue(t *testing.T) {
	var page strings.Builder
	for _, name := range slices.Sorted(maps.Keys(catalogue)) {
		fmt.Fprintln(&page, name)
		for _, p := range catalogue[name] {
			fmt.Fprintf(&page, "  %s %s: %s\n", kinds[p.Kind], p.Reason, p.Message())
		}
	}
	golden.Compare(t, filepath.Join("testdata", "catalogue.txt"), []byte(page.String()))
}

// A constructor that is not in the table is not read by the person who reviews the messages.
func TestCatalogueIsComplete(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.IsExported() && makesProblem(f) {
				found[f.Name.Name] = true
			}
		}
	}
	for name := range found {
		if len(catalogue[name]) == 0 {
			t.Errorf("the table lacks %s", name)
		}
	}
	for name := range catalogue {
		if !found[name] {
			t.Errorf("the package lacks %s", name)
		}
	}
}

// A Problem that is made elsewhere is in no catalogue.
func TestProblemsAreMadeHere(t *testing.T) {
	for _, folder := range []string{"../../controllers", "../../internal", "../../cmd"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			if strings.Contains(string(source), "problem.Problem{") {
				t.Errorf("%s makes a Problem", path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func makesProblem(f *ast.FuncDecl) bool {
	if f.Type.Results == nil {
		return false
	}
	star, ok := f.Type.Results.List[0].Type.(*ast.StarExpr)
	if !ok {
		return false
	}
	name, ok := star.X.(*ast.Ident)
	return ok && name.Name == "Problem"
}

// What is over the limit already has the words of two problems.
var long = []string{"RestartIncomplete", "Removing", "RefreshFailing", "TokenExpired", "TokenExpiring", "WithoutLookUp"}

func TestMessagesAreShortAndHaveARemedy(t *testing.T) {
	const most = 160
	for name, samples := range catalogue {
		for _, p := range samples {
			p := *p
			p.Detail = ""
			if n := len(p.Message()); n > most && !slices.Contains(long, name) {
				t.Errorf("%s: %d characters, %d too many: %s", name, n, n-most, p.Message())
			}
			if p.Remedy == "" || p.Cause == "" || p.Reason == "" || kinds[p.Kind] == "" {
				t.Errorf("%s lacks something: %+v", name, p)
			}
		}
	}
}

func TestWords(t *testing.T) {
	banned := regexp.MustCompile(`(?i)\b(somebody|nobody|whoever|tells whether|she|her|hers|he|his|mend)\b|hunter2|%!|\.\.|\.$|\n`)
	for name, samples := range catalogue {
		for _, p := range samples {
			if bad := banned.FindString(p.Message()); bad != "" {
				t.Errorf("%s has %q: %s", name, bad, p.Message())
			}
		}
	}
}
