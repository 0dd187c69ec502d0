{{- define "carbonado.labels" -}}
app.kubernetes.io/name: carbonado
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "carbonado.selector" -}}
app.kubernetes.io/name: carbonado
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Names in the certificate that control and agents share; callers of an agent check for carbonado-agent. */}}
{{- define "carbonado.names" -}}
{{- $service := printf "carbonado-control.%s.svc" .Release.Namespace -}}
{{- list $service (printf "%s.cluster.local" $service) "carbonado-agent" | toJson -}}
{{- end -}}
