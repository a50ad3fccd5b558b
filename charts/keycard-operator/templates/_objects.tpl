{{- /* The objects of a generated file, in a namespace unless they are the cluster's; their subjects are the release's. */}}
{{- define "keycard-operator.objects" }}
{{- range splitList "\n---\n" (.root.Files.Get .file) }}
{{- $object := fromYaml . }}
{{- if not (hasPrefix "Cluster" $object.kind) }}{{ $_ := set $object.metadata "namespace" $.namespace }}{{ end }}
{{- range default list (get $object "subjects") }}{{ $_ := set . "namespace" $.root.Release.Namespace }}{{ end }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}

{{- /* The port of the consent page; empty when there is none. */}}
{{- define "keycard-operator.consentPort" }}
{{- with .Values.consent.address }}{{ splitList ":" . | last }}{{ end }}
{{- end }}
