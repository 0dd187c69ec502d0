{{/* What the API server asks about pods. Without control, pods without annotations of ours go on; the others wait. */}}
{{- define "carbonado.podWebhooks" -}}
{{- $service := dict "name" "carbonado-control" "namespace" .root.Release.Namespace "port" 443 -}}
{{- $annotated := "object.?metadata.?annotations.orValue({}).exists(key, key.startsWith('carbonado.io/endpoint') || key.startsWith('diamanti.com/endpoint'))" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: carbonado-pods
  labels: {{- include "carbonado.labels" .root | nindent 4 }}
webhooks:
  - name: annotated.pods.carbonado.io
    admissionReviewVersions: [v1]
    sideEffects: None
    # Such a pod without its requests could overcommit a node.
    failurePolicy: Fail
    timeoutSeconds: 5
    clientConfig:
      service: {{ merge (dict "path" "/webhooks/pods") $service | toJson }}
      caBundle: {{ .ca }}
    matchConditions:
      - name: asks-for-interfaces
        expression: {{ $annotated | quote }}
    rules:
      - { apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE] }
  - name: pods.carbonado.io
    admissionReviewVersions: [v1]
    sideEffects: None
    # Any other pod is made also without control: its node still refuses what does not fit.
    failurePolicy: Ignore
    timeoutSeconds: 2
    clientConfig:
      service: {{ merge (dict "path" "/webhooks/pods") $service | toJson }}
      caBundle: {{ .ca }}
    matchConditions:
      - name: has-a-network-of-its-own
        expression: "!object.?spec.?hostNetwork.orValue(false)"
      - name: asks-for-nothing
        expression: {{ printf "!(%s)" $annotated | quote }}
    rules:
      - { apiGroups: [""], apiVersions: [v1], resources: [pods], operations: [CREATE] }
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: carbonado-templates
  labels: {{- include "carbonado.labels" .root | nindent 4 }}
webhooks:
  - name: templates.carbonado.io
    admissionReviewVersions: [v1]
    sideEffects: None
    # Only so that a mistake is told at once: the pods themselves are checked again.
    failurePolicy: Ignore
    timeoutSeconds: 2
    clientConfig:
      service: {{ merge (dict "path" "/webhooks/templates") $service | toJson }}
      caBundle: {{ .ca }}
    matchConditions:
      - name: asks-for-interfaces
        expression: >-
          [object.?spec.?template, object.?spec.?jobTemplate.?spec.?template].exists(template,
          template.?metadata.?annotations.orValue({}).exists(key,
          key.startsWith('carbonado.io/endpoint') || key.startsWith('diamanti.com/endpoint')))
    rules:
      - apiGroups: [apps]
        apiVersions: [v1]
        resources: [deployments, statefulsets, daemonsets, replicasets]
        operations: [CREATE, UPDATE]
      - apiGroups: [batch]
        apiVersions: [v1]
        resources: [jobs, cronjobs]
        operations: [CREATE, UPDATE]
{{- end -}}
