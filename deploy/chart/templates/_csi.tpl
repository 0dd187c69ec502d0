{{/* What all containers beside the CSI controller have; ends in a list of mounts. */}}
{{- define "carbonado.csiContainer" -}}
resources: {{- toYaml .Values.csi.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
volumeMounts:
  - { name: socket, mountPath: /csi }
{{- end -}}

{{- define "carbonado.csiArguments" -}}
- --csi-address=/csi/csi.sock
- --leader-election
- --leader-election-namespace={{ .Release.Namespace }}
- --timeout=30s
{{ include "carbonado.sidecarRate" . }}
{{- end -}}

{{/* Requests to the API server: with five a second, as is usual, many snapshots or volumes at once wait for that. */}}
{{- define "carbonado.sidecarRate" -}}
- --kube-api-qps=50
- --kube-api-burst=100
{{- end -}}
