{{/*
What kube-scheduler needs to ask control: who control is, and a certificate of its own, by which control knows it. Made
once, as carbonado-tls is.
*/}}
{{- define "carbonado.schedulerSecret" -}}
{{- $present := lookup "v1" "Secret" .root.Release.Namespace "carbonado-scheduler" -}}
{{- $authority := "" -}}
{{- $certificate := dict -}}
{{- if $present }}
{{- $authority = index $present.data "client-ca.crt" | b64dec }}
{{- $_ := set $certificate "Cert" (index $present.data "tls.crt" | b64dec) }}
{{- $_ := set $certificate "Key" (index $present.data "tls.key" | b64dec) }}
{{- else }}
{{- $made := genCA "carbonado-scheduler" 3650 }}
{{- $signed := genSignedCert "kube-scheduler" nil nil 3650 $made }}
{{- $authority = $made.Cert }}
{{- $_ := set $certificate "Cert" $signed.Cert }}
{{- $_ := set $certificate "Key" $signed.Key }}
{{- end }}
apiVersion: v1
kind: Secret
metadata:
  name: carbonado-scheduler
  labels: {{- include "carbonado.labels" .root | nindent 4 }}
  annotations:
    # kept, so that a scheduler that has these files is known to the next installation
    helm.sh/resource-policy: keep
type: Opaque
stringData:
  # for the scheduler: control's authority, and what it shows
  ca.crt: {{ .authority | quote }}
  tls.crt: {{ $certificate.Cert | quote }}
  tls.key: {{ $certificate.Key | quote }}
  # for control: who may ask
  client-ca.crt: {{ $authority | quote }}
{{- end -}}
