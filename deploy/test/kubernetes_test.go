package deploy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// manifest decodes a file strictly: a field that Kubernetes does not know fails.
func manifest[T any](t *testing.T, name string) (v T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(read(t, "../kubernetes/"+name), &v); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return v
}

// The manifests are what Kubernetes knows, and fit together.
func TestKubernetes(t *testing.T) {
	set := manifest[apps.StatefulSet](t, "statefulset.yaml")
	service := manifest[core.Service](t, "service.yaml")
	secret := manifest[core.Secret](t, "secret.example.yaml")
	rules := manifest[networking.NetworkPolicy](t, "networkpolicy.yaml")
	budget := manifest[policy.PodDisruptionBudget](t, "disruption.yaml")
	space := manifest[core.Namespace](t, "namespace.yaml")

	pod := set.Spec.Template
	for what, selector := range map[string]map[string]string{
		"StatefulSet": set.Spec.Selector.MatchLabels, "Service": service.Spec.Selector,
		"NetworkPolicy": rules.Spec.PodSelector.MatchLabels, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels,
	} {
		if len(selector) == 0 || !labels.SelectorFromSet(selector).Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s selects %v, the pods have %v", what, selector, pod.Labels)
		}
	}
	for what, in := range map[string]string{"StatefulSet": set.Namespace, "Service": service.Namespace, "Secret": secret.Namespace, "NetworkPolicy": rules.Namespace, "PodDisruptionBudget": budget.Namespace} {
		if in != space.Name {
			t.Errorf("%s is in namespace %q", what, in)
		}
	}
	if set.Spec.ServiceName != service.Name {
		t.Errorf("the StatefulSet is served by %s, the Service is %s", set.Spec.ServiceName, service.Name)
	}
	checkEngine(t, &pod.Spec, &secret, set.Spec.VolumeClaimTemplates)
	if len(rules.Spec.PolicyTypes) != 2 || len(rules.Spec.Ingress) != 1 || len(rules.Spec.Egress) == 0 {
		t.Errorf("the policy has types %v", rules.Spec.PolicyTypes)
	}
	for _, r := range rules.Spec.Ingress {
		if len(r.From) == 0 || len(r.Ports) == 0 {
			t.Error("the policy lets everybody in")
		}
	}
}

// checkEngine checks the pod: its probes, its secrets, its mounts and its rights.
func checkEngine(t *testing.T, pod *core.PodSpec, secret *core.Secret, claims []core.PersistentVolumeClaim) {
	t.Helper()
	c := pod.Containers[0]
	if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.StartupProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Error("a probe asks for another page")
	}
	for _, p := range []*core.Probe{c.LivenessProbe, c.StartupProbe, c.ReadinessProbe} {
		if p.HTTPGet.Port.StrVal != c.Ports[0].Name {
			t.Errorf("a probe asks port %v", p.HTTPGet.Port)
		}
	}
	volumes := map[string]bool{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = true
		if v.Secret != nil && v.Secret.SecretName != secret.Name {
			t.Errorf("volume %s is of secret %s", v.Name, v.Secret.SecretName)
		}
		if v.Secret != nil {
			for _, item := range v.Secret.Items {
				if secret.StringData[item.Key] == "" {
					t.Errorf("the secret has no %s", item.Key)
				}
			}
		}
	}
	for _, claim := range claims {
		volumes[claim.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			t.Errorf("there is no volume %s", m.Name)
		}
	}
	settings := string(read(t, "../../docs/reference/configuration.md"))
	for _, e := range c.Env {
		if strings.HasPrefix(e.Name, "TIDEMARK_") && !strings.Contains(settings, "`"+e.Name+"`") {
			t.Errorf("there is no setting %s", e.Name)
		}
		if e.ValueFrom != nil && secret.StringData[e.ValueFrom.SecretKeyRef.Key] == "" {
			t.Errorf("the secret has no %s", e.ValueFrom.SecretKeyRef.Key)
		}
		if strings.Contains(e.Value, "password") || strings.Contains(e.Value, "://tidemark:") {
			t.Errorf("%s has a secret in its value", e.Name)
		}
	}
	s := c.SecurityContext
	if !*pod.SecurityContext.RunAsNonRoot || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem || !slices.Contains(s.Capabilities.Drop, "ALL") || *pod.AutomountServiceAccountToken {
		t.Error("the pod has more rights than it needs")
	}
	if *pod.TerminationGracePeriodSeconds < 30 {
		t.Error("the engine gives itself 16 s to stop")
	}
}

// kustomization.yaml names the files of the folder.
func TestKustomization(t *testing.T) {
	var k struct {
		APIVersion string   `json:"apiVersion"`
		Kind       string   `json:"kind"`
		Namespace  string   `json:"namespace"`
		Resources  []string `json:"resources"`
		Images     []image  `json:"images"`
	}
	must(t, yaml.UnmarshalStrict(read(t, "../kubernetes/kustomization.yaml"), &k))
	files, err := filepath.Glob("../kubernetes/*.yaml")
	must(t, err)
	var want []string
	for _, f := range files {
		if name := filepath.Base(f); name != "kustomization.yaml" {
			want = append(want, strings.Replace(name, ".example", "", 1))
		}
	}
	slices.Sort(want)
	got := slices.Sorted(slices.Values(k.Resources))
	if want = slices.Compact(want); !slices.Equal(got, want) {
		t.Errorf("kustomization.yaml has %v, the folder %v", got, want)
	}
	ignored, err := os.ReadFile("../../.gitignore")
	must(t, err)
	if !bytes.Contains(ignored, []byte("/deploy/kubernetes/secret.yaml\n")) {
		t.Error("git does not ignore secret.yaml")
	}
}

type image struct {
	Name    string `json:"name"`
	NewName string `json:"newName"`
	NewTag  string `json:"newTag"`
}
